"""ONNX graphs: captured from a module, simplified, improved by passes, audited, saved."""
