"""Tensors from files into the model, strictly: every one is used, and every parameter filled."""

import hashlib
import pickle
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vit_export.errors import RequestError
from vit_export.spec import VitSpec
from vit_export.vit.eager import Vit
from vit_export.vit.families import FAMILIES
from vit_export.vit.families.base import Family, StateDict

PICKLES = {".pt", ".pth", ".bin"}
SHOWN = 5


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a pickle read with `weights_only=True`.

    Raises:
        RequestError: missing, truncated, of another kind, or a pickle that would execute code.
    """
    if not path.is_file():
        raise RequestError(f"{path}: no such weights file.", "check the path.")
    try:
        if path.suffix not in PICKLES:
            return load_file(path)
        with warnings.catch_warnings():
            # torch warns of pickle protocols that it may not read; if so, it raises just after
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        message = f"{path} is not a whole safetensors file ({error})."
        raise RequestError(message, "copy it again; pickles end in .pt, .pth or .bin.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        message = f"{path} can't be read as plain tensors ({reason})."
        raise RequestError(
            message, "save a state dict: torch.save(model.state_dict(), …)."
        ) from None
    return _tensors(loaded, path)


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, dict) and all(isinstance(t, Tensor) for t in loaded.values()):
        return {str(name): tensor for name, tensor in loaded.items()}
    raise RequestError(
        f"{path} does not hold a state dict.", "save model.state_dict(), not the model."
    )


def family_of(state: StateDict, where: str) -> Family:
    """The family whose names `state` has.

    Raises:
        RequestError: none; the message lists the known ones.
    """
    for family in FAMILIES:
        if family.recognises(state.keys()):
            return family
    known = ", ".join(family.name for family in FAMILIES)
    first = ", ".join(list(state)[:3])
    raise RequestError(
        f"{where}: its tensors ({first}, …) are of no family that is known.", f"known: {known}."
    )


def vit_with(spec: VitSpec, state: StateDict, where: str) -> Vit:
    """The eager model of `spec` holding exactly the tensors of `state`, ready for evaluation.

    Raises:
        RequestError: unknown names, or tensors that are missing, unexpected or mis-shaped.
    """
    tensors = family_of(state, where).rename(state)
    with torch.device("meta"):
        vit = Vit(spec)
    wanted = vit.state_dict()
    _check_fit({name: tensor.shape for name, tensor in wanted.items()}, tensors, where)
    fp32 = {name: tensor.detach().to(torch.float32) for name, tensor in tensors.items()}
    vit.load_state_dict(fp32, assign=True)
    return vit.eval().requires_grad_(requires_grad=False)


def _check_fit(wanted: dict[str, torch.Size], found: StateDict, where: str) -> None:
    groups = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "mis-shaped": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(shape)}"
            for name, shape in wanted.items()
            if name in found and found[name].shape != shape
        ],
    }
    told = [f"{kind}: {_some(names)}" for kind, names in groups.items() if names]
    if told:
        message = f"{where} does not fit the model: {'; '.join(told)}."
        fix = "give the --model (and --image-size, --classes) these weights were trained with."
        raise RequestError(message, fix)


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
