"""What a file says of itself. Neither torch nor onnx is needed to read it."""
