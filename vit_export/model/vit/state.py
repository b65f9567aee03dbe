"""Tensors into the model, strictly: every one is used, and every parameter filled."""

import hashlib
from collections.abc import Callable

import torch

from vit_export.checkpoints.families import family_of
from vit_export.checkpoints.families.base import FUSED, StateDict
from vit_export.checkpoints.families.naming import originals
from vit_export.core.errors import RequestError
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.vit import Vit

SHOWN = 5
ANOTHER_SPEC = "give the --model (and --image-size, --classes) these weights were trained with."


def vit_with(spec: VitSpec, state: StateDict, where: str) -> Vit:
    """The eager model of `spec` holding exactly the tensors of `state`, ready for evaluation.

    Raises:
        RequestError: unknown names, or tensors that are missing, unexpected or mis-shaped.
    """
    family = family_of(state, where)
    renamed = family.rename(state)
    return fill(spec, renamed.tensors, f"{where} ({family.name})", originals(family, renamed))


def fill(
    spec: VitSpec,
    tensors: StateDict,
    where: str,
    original: Callable[[str], str] = str,
    fix: str = ANOTHER_SPEC,
) -> Vit:
    """The same from tensors under our names; errors have those that `original` gives back."""
    with torch.device("meta"):
        vit = Vit(spec)
    wanted = vit.state_dict()
    _check_types(tensors, where, original)
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    told = _misfits(shapes, tensors, original)
    if told:
        raise RequestError(f"{where} does not fit the model: {'; '.join(told)}.", fix)
    fp32 = {name: tensor.detach().to(torch.float32) for name, tensor in tensors.items()}
    _check_finite(fp32, where, original)
    vit.load_state_dict(fp32, assign=True)
    return vit.eval().requires_grad_(requires_grad=False)


def _misfits(
    wanted: dict[str, torch.Size], found: StateDict, original: Callable[[str], str]
) -> list[str]:
    groups = {
        "missing": [original(name) for name in wanted if name not in found],
        "unexpected": [
            original(name) for name in found if name not in wanted and not _waits(name, found)
        ],
        "mis-shaped": [
            f"{original(name)} {tuple(found[name].shape)} instead of {tuple(shape)}"
            for name, shape in wanted.items()
            if name in found and found[name].shape != shape
        ],
    }
    return [f"{kind}: {_some(names)}" for kind, names in groups.items() if names]


def _waits(name: str, found: StateDict) -> bool:
    """Whether it is a part of a layer whose other parts are missing, and told as such."""
    return any(
        part in name and any(name.replace(part, other) not in found for other in parts)
        for parts in FUSED.values()
        for part in parts
    )


def _check_types(tensors: StateDict, where: str, original: Callable[[str], str]) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            dtype = str(tensor.dtype).removeprefix("torch.")
            message = f"{where}: {original(name)} is {dtype}, not floating point."
            raise RequestError(message, "give the weights before they were quantized.")


def _check_finite(tensors: StateDict, where: str, original: Callable[[str], str]) -> None:
    """A model with such weights answers NaN, and there would be nothing to prove."""
    for name, tensor in tensors.items():
        smallest, largest = tensor.aminmax()
        if not (smallest.isfinite() and largest.isfinite()):
            message = f"{where}: {original(name)} holds NaN or infinite numbers in fp32."
            raise RequestError(message, "give a checkpoint from before the training diverged.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def random_vit(spec: VitSpec, seed: int) -> Vit:
    """The eager model of `spec` with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Vit(spec).eval().requires_grad_(requires_grad=False)


def sha256_of(vit: Vit) -> str:
    """SHA-256 over sorted name, dtype, shape and bytes: the same whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(vit.state_dict().items()):
        array = tensor.contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
