"""The ONNX graph: captured from the lowered module, simplified, saved."""
