"""The tensors of a checkpoint under our names and in our shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vit_export.checkpoints.families.base import Family
from vit_export.core.errors import RequestError
from vit_export.model.vit.state import FUSED_LAYERS, StateDict

JOINER = " + "
"""Text between the names of a fused layer's parts, in errors."""
TOKENS = ("class_token", "distillation_token", "register_tokens", "positions", "probe")
"""Ends of our names of tensors that hold one row per token."""
ALL_BLOCKS = "blocks.*."
"""Beginning of our name of a tensor that the family keeps for all blocks in one."""
MATRIX = 2
"""Number of a matrix's axes."""


@dataclass(frozen=True)
class Translation:
    """Tensors under our names, with the names that they have in the checkpoint."""

    tensors: dict[str, Tensor]
    unused: dict[str, str]
    """Names in the checkpoint of tensors that the model does not need, each with the reason."""
    origins: dict[str, str]
    """Our names to the names in the checkpoint; `JOINER` joins the parts of a fused layer."""


def translate(family: Family, state: StateDict) -> Translation:
    """Return the tensors of `state` under our names.

    A name that the family does not know stays as it is: `fill` reports it as unexpected.

    Raises:
        RequestError: a tensor belongs to a part that is not supported, or two different ones have
            the same place in the model.
    """
    tensors: dict[str, Tensor] = {}
    unused: dict[str, str] = {}
    origins: dict[str, str] = {}
    for name, tensor in state.items():
        check_supported(family, name)
        reason = _look_up(family.unused, name)
        if name.endswith(TOKENS) and not tensor.numel():
            reason = "it holds no token"
        if reason is not None:
            unused[name] = reason
        else:
            ours = translate_name(family.names, name)
            if ours in origins:
                unused[name] = _explain_copy(state, origins[ours], name)
                continue
            origins[ours] = name
            transposed = ours in family.transposed and tensor.ndim == MATRIX
            tensors[ours] = _reshape_tokens(ours, tensor.T if transposed else tensor)
    _split_blocks(tensors, origins)
    _add_parts_of_biases(family, tensors)
    tensors = _fuse(tensors, origins)
    _add_biases(family, tensors)
    return Translation(tensors, unused, origins)


def _split_blocks(tensors: dict[str, Tensor], origins: dict[str, str]) -> None:
    """Give each block its part of a tensor for all blocks.

    The second axis counts the blocks; a matrix has none, and belongs to each block whole.

    Raises:
        RequestError: a block has such a tensor of its own too.
    """
    depth = len({match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))})
    for name in [name for name in tensors if ALL_BLOCKS in name and tensors[name].ndim >= MATRIX]:
        origin, tensor = origins.pop(name), tensors.pop(name)
        parts = tensor.unbind(dim=1) if tensor.ndim > MATRIX else [tensor] * depth
        for number, part in enumerate(parts):
            ours = name.replace(ALL_BLOCKS, f"blocks.{number}.")
            if ours in tensors:
                message = f"block {number} has a table for all blocks and one of its own: {origin}"
                message += f" and {origins[ours]}, which is not supported yet."
                raise RequestError(message, "export another model.")
            tensors[ours], origins[ours] = part, origin


def _add_parts_of_biases(family: Family, tensors: dict[str, Tensor]) -> None:
    """Add zeros for the part of a fused layer's bias that no block has, if the others have one."""
    for parts in FUSED_LAYERS.values():
        for part in family.optional_biases & {*parts}:
            if not _has_bias(tensors, part):
                others = [name for one in parts for name in tensors if name.endswith(f"{one}.bias")]
                for name in others:
                    other = next(one for one in parts if f"{one}." in name)
                    tensors[name.replace(other, part)] = torch.zeros_like(tensors[name])


def _add_biases(family: Family, tensors: dict[str, Tensor]) -> None:
    """Add zeros for the bias of a layer that no block has."""
    for layer in family.optional_biases:
        if not _has_bias(tensors, layer):
            weights = [
                name for name in tensors if re.fullmatch(rf"blocks\.\d+\.{layer}\.weight", name)
            ]
            for name in weights:
                rows = tensors[name].shape[:1]
                tensors[name.replace("weight", "bias")] = tensors[name].new_zeros(rows)


def _has_bias(tensors: Mapping[str, Tensor], layer: str) -> bool:
    return any(name.endswith(f"{layer}.bias") for name in tensors)


def _explain_copy(state: StateDict, first: str, second: str) -> str:
    """Return why the second of two names for one place in the model is unused.

    Raises:
        RequestError: their tensors differ, so that they belong to two models.
    """
    one, other = state[first], state[second]
    if one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other):
        return f"it is the same tensor as {first}"
    prefixes = [f"{prefix}." if prefix else "" for prefix in _find_prefixes(first, second)]
    message = f"{first} and {second} have the same place in the model, so that the tensors are "
    message += f"those of several models, with the prefixes {', '.join(map(repr, prefixes))}."
    choice = next(filter(None, reversed(prefixes)), "")
    raise RequestError(message, f"name the one to read, such as --prefix {choice}")


def _find_prefixes(first: str, second: str) -> tuple[str, str]:
    """Return what stands before the last words that two names share."""
    ours, theirs = first.split("."), second.split(".")
    while ours and theirs and ours[-1] == theirs[-1]:
        del ours[-1], theirs[-1]
    return ".".join(ours), ".".join(theirs)


def check_supported(family: Family, name: str) -> None:
    """Raise RequestError if the tensor `name` belongs to a part that is not supported."""
    part = _look_up(family.unsupported, name)
    if part is not None:
        raise RequestError(
            f"{name}: {family.name} with {part} is not supported yet.", "export another model."
        )


def _look_up(table: Mapping[str, str], name: str) -> str | None:
    return next((value for pattern, value in table.items() if re.fullmatch(pattern, name)), None)


def translate_name(table: Mapping[str, str], name: str) -> str:
    """Return our name for the family's `name`; `name` itself if the table has none."""
    for pattern, ours in table.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return name


def _reshape_tokens(name: str, tensor: Tensor) -> Tensor:
    """Return tokens and positions as (N, D), without a batch axis and with an axis for N = 1."""
    if name.endswith(TOKENS) and tensor.ndim and tensor.numel():
        return tensor.reshape(-1, tensor.shape[-1])
    return tensor


def _fuse(tensors: dict[str, Tensor], origins: dict[str, str]) -> dict[str, Tensor]:
    """Return `tensors` with fused layers in place of their parts; update `origins`.

    Parts stay as they are if one of them is missing or has another shape.
    """
    for whole, parts in FUSED_LAYERS.items():
        for name in [name for name in tensors if parts[0] in name]:
            names = [name.replace(parts[0], part) for part in parts]
            present = [tensors[part] for part in names if part in tensors and tensors[part].ndim]
            kinds = {(part.shape[1:], part.is_floating_point()) for part in present}
            if len(present) == len(names) and len(kinds) == 1:
                for part in names:
                    del tensors[part]
                ours = name.replace(parts[0], whole)
                tensors[ours] = torch.cat(_unify_types(present))
                known = [origins.pop(part) for part in names if part in origins]
                origins[ours] = JOINER.join(known)
    return tensors


def _unify_types(parts: list[Tensor]) -> list[Tensor]:
    """Return parts of mixed types in fp32, since torch can't concatenate every mixture."""
    if len({part.dtype for part in parts}) == 1 or not parts[0].is_floating_point():
        return parts
    return [part.to(torch.float32) for part in parts]
