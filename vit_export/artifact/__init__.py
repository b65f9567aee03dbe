"""What an exported file records about itself; reading it needs neither torch nor onnx."""
