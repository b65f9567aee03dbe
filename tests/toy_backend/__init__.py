"""A backend of one small folder: weights as safetensors, run by eager PyTorch.

It stands for any backend that is added, in the contract of backends and in the proof that nothing
else has to change.
"""
