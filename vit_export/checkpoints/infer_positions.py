"""The grid of a checkpoint's positions: which tokens have one, and the size of the images."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from vit_export.checkpoints.infer_sizes import TABLE
from vit_export.core.errors import RequestError
from vit_export.model.vit.relative_bias import CLASS_TOKEN_ROWS

Size = tuple[int, int]
Candidate = tuple[str, Size]
"""A value of `VitSpec.positions`, and an image size."""
WIDEST = 2
"""Largest ratio of the sides of images that people train on and do not mention."""
SQUARES_WITHOUT_CLASS_TOKEN = {196, 256, 576}
"""Numbers of patches of DeiT-III, whose positions leave out the class token."""


def infer_positions(
    tensors: Mapping[str, Tensor], parts: Mapping[str, Any], facts: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return which tokens the positions cover, and the image size that fits their number.

    A model without learned positions has the size that is known from elsewhere.

    Args:
        tensors: tensors of the checkpoint under our names.
        parts: fields of VitSpec: the patch size, the prefix tokens, and `positions` if known.
        facts: `image_size` has to fit; `likely_size` is taken if it fits. Without them the images
            are square.
        where: the checkpoint, for errors.

    Raises:
        RequestError: no size fits, several do, or none is known.
    """
    stated, likely = facts.get("image_size"), facts.get("likely_size")
    if "embedding.positions" not in tensors:
        shown = (
            find_size_of_table(tensors[TABLE], parts["patch_size"]) if TABLE in tensors else None
        )
        size = stated or shown or likely
        return {"positions": "none", "image_size": _choose_size(size, where)}
    count, patch = len(tensors["embedding.positions"]), parts["patch_size"]
    patches = _count_patches(count, parts)
    if stated is not None:
        candidates = _fit(patches, stated, patch)
    else:
        candidates = _fit(patches, likely, patch) if likely else []
        if not candidates:
            _check_square(patches, parts, where)
            candidates = _list_squares(patches, patch)
    # with few prefix tokens, several kinds cover the same tokens and are equivalent
    if len({patches[kind] for kind, _ in candidates}) != 1:
        message = f"{where}: {count} positions don't show the size of the images."
        if stated is not None:
            message = f"{where}: {count} positions are not those of {stated[0]}x{stated[1]} images."
        raise RequestError(message, "give --trained-size HxW.")
    kind, size = candidates[0]
    return {"positions": kind, "image_size": tuple(size)}


def find_size_of_table(table: Tensor, patch: int) -> Size | None:
    """Return the square size that a table of relative positions fits; None if none does."""
    places = (len(table) if table.ndim else 0) - CLASS_TOKEN_ROWS
    side = (isqrt(max(places, 0)) + 1) // 2
    return (side * patch, side * patch) if (2 * side - 1) ** 2 == places else None


def _choose_size(size: Size | None, where: str) -> Size:
    if size is None:
        message = f"{where}: its tensors don't show the size of the images."
        raise RequestError(message, "give --trained-size HxW.")
    return size


def _count_patches(count: int, parts: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of patches for each kind of positions that the model may have."""
    registers = parts["register_tokens"]
    prefix = parts["class_token"] + parts["distillation_token"] + registers
    prefix_lengths = {"all": prefix, "no_registers": prefix - registers, "patches": 0}
    kinds = (parts["positions"],) if "positions" in parts else tuple(prefix_lengths)
    return {kind: count - prefix_lengths[kind] for kind in kinds}


def _fit(patches: Mapping[str, int], size: Size, patch: int) -> list[Candidate]:
    grid = (size[0] // patch) * (size[1] // patch)
    return [(kind, size) for kind, number in patches.items() if number == grid]


def _list_squares(patches: Mapping[str, int], patch: int) -> list[Candidate]:
    return [
        (kind, (side * patch, side * patch))
        for kind, number in patches.items()
        if (side := isqrt(max(number, 0))) ** 2 == number
    ]


def _check_square(patches: Mapping[str, int], parts: Mapping[str, Any], where: str) -> None:
    """Raise RequestError if images that are not square are as likely as square ones.

    A class token and a grid of n-1 by n+1 patches make n * n positions, which look like a square
    without the class token. Models with registers leave them out; so does DeiT-III.
    """
    usual = patches.get("all", 0)
    is_square = isqrt(max(usual, 0)) ** 2 == usual
    if "positions" in parts or is_square or parts["register_tokens"]:
        return
    if parts["layer_scale"] and patches["patches"] in SQUARES_WITHOUT_CLASS_TOKEN:
        return
    rows = next((n for n in range(isqrt(max(usual, 0)), 1, -1) if usual % n == 0), 0)
    if rows and usual <= WIDEST * rows * rows and _list_squares(patches, 1):
        patch, columns, side = parts["patch_size"], usual // rows, isqrt(patches["patches"])
        message = (
            f"{where}: its positions are those of {side * patch}x{side * patch} images without "
            f"one for the class token, or of {rows * patch}x{columns * patch} images with it."
        )
        raise RequestError(message, "give --trained-size HxW.")
