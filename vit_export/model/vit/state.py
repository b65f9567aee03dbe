"""The eager model and its weights: each parameter gets one tensor, and no tensor is left over."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from vit_export.core.errors import RequestError
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.vit import Vit

StateDict = Mapping[str, Tensor]
FUSED_LAYERS = {
    "attention.qkv": ("attention.query", "attention.key", "attention.value"),
    "attention_pool.qkv": ("attention_pool.query", "attention_pool.key_value"),
    "mlp.expand": ("mlp.gate", "mlp.up"),
}
"""Layers of our model that some checkpoints keep in parts, in the order of their rows."""
MAX_NAMES = 5
"""Number of tensors that one error lists."""
ANOTHER_SPEC = "give the --model (and --image-size, --classes) these weights were trained with."


def fill(
    spec: VitSpec,
    tensors: StateDict,
    where: str,
    original_name: Callable[[str], str] = str,
    fix: str = ANOTHER_SPEC,
) -> Vit:
    """Return the eager model of `spec` with exactly these weights, in fp32 and in evaluation mode.

    Args:
        spec: the model to build.
        tensors: the weights by their names in `Vit`.
        where: the origin of the weights, for errors.
        original_name: maps a name in `Vit` to the name in the checkpoint, for errors.
        fix: advice for an error about tensors that do not fit.

    Raises:
        RequestError: a tensor is missing, unexpected, mis-shaped, not floating point or not finite.
    """
    with torch.device("meta"):
        vit = Vit(spec)
    _check_types(tensors, where, original_name)
    shapes = {name: tensor.shape for name, tensor in vit.state_dict().items()}
    misfits = _find_misfits(shapes, tensors, original_name)
    if misfits:
        raise RequestError(f"{where} does not fit the model: {'; '.join(misfits)}.", fix)
    fp32 = {name: tensor.detach().to(torch.float32) for name, tensor in tensors.items()}
    _check_finite(fp32, where, original_name)
    vit.load_state_dict(fp32, assign=True)
    return vit.eval().requires_grad_(requires_grad=False)


def _find_misfits(
    shapes: Mapping[str, torch.Size], tensors: StateDict, original_name: Callable[[str], str]
) -> list[str]:
    """Return one phrase for each kind of misfit between the model's `shapes` and `tensors`."""
    groups = {
        "missing": [original_name(name) for name in shapes if name not in tensors],
        "unexpected": [
            original_name(name)
            for name in tensors
            if name not in shapes and not _lacks_siblings(name, tensors)
        ],
        "mis-shaped": [
            f"{original_name(name)} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
            for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    return [f"{kind}: {_list_names(names)}" for kind, names in groups.items() if names]


def _lacks_siblings(name: str, tensors: StateDict) -> bool:
    """Return whether `name` is one part of a fused layer whose other parts are missing.

    The error lists those parts as missing already.
    """
    return any(
        part in name and any(name.replace(part, other) not in tensors for other in parts)
        for parts in FUSED_LAYERS.values()
        for part in parts
    )


def _check_types(tensors: StateDict, where: str, original_name: Callable[[str], str]) -> None:
    """Raise RequestError unless every tensor is floating point."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            dtype = str(tensor.dtype).removeprefix("torch.")
            message = f"{where}: {original_name(name)} is {dtype}, not floating point."
            fix = "give the weights before they were quantized, or dequantize them."
            is_quantized = tensor.dtype in {torch.int8, torch.uint8}
            raise RequestError(message, fix if is_quantized else "save the state dict without it.")


def _check_finite(tensors: StateDict, where: str, original_name: Callable[[str], str]) -> None:
    """Raise RequestError unless every weight is finite: NaN answers can't prove anything."""
    for name, tensor in tensors.items():
        smallest, largest = tensor.aminmax()
        if not (smallest.isfinite() and largest.isfinite()):
            message = f"{where}: {original_name(name)} holds NaN or infinite numbers in fp32."
            raise RequestError(message, "give a checkpoint from before the training diverged.")


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def random_vit(spec: VitSpec, seed: int) -> Vit:
    """Return the eager model of `spec` with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Vit(spec).eval().requires_grad_(requires_grad=False)


def vit_from_file(fields: Mapping[str, Any], weights: str, where: str) -> Vit:
    """Return the eager model of a spec with `fields`, with the weights of a file.

    Args:
        fields: the fields of the spec, as in a manifest.
        weights: a safetensors file with the names of `Vit`; empty for random weights.
        where: the origin of `fields`, for errors.

    Raises:
        RequestError: the fields make no spec, or the weights do not fit it.
    """
    spec = VitSpec.from_mapping(fields, where)
    if not weights:
        return random_vit(spec, 0)
    from safetensors.torch import load_file

    return fill(spec, load_file(weights), weights)
