"""The hash of a module's numbers, by which an artifact names its weights."""

import hashlib

import torch
from torch import Tensor, nn


def hash_tensors(module: nn.Module) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of all parameters and buffers.

    Buffers that are not saved count too: the answers depend on them. The file format that the
    weights came from does not count.
    """
    tensors: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    tensors |= dict(module.named_buffers(remove_duplicate=False))
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"{name} {dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous()
        if plain.numel():
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
