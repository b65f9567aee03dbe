"""Engines of TensorRT, of TensorRT for RTX and of torch-tensorrt."""
