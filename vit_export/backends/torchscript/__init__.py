"""TorchScript archives, run by LibTorch."""
