"""Checks of `VitSpec`: fields and combinations of fields that make no model are refused by name."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vit_export.core.errors import RequestError

if TYPE_CHECKING:
    from vit_export.model.vit.spec import VitSpec

LARGEST = sys.float_info.max
"""Larger whole numbers are no float."""
POSITIVE = ("patch_size", "channels", "width", "depth", "heads", "hidden", "norm_eps")
MAX_MLP_RATIO = 1000
"""Published models have 8 at most; a product beyond fp64 is no width."""

MAX_SIZES = {
    "patch_size": 4096,
    "channels": 4096,
    "width": 65_536,
    "depth": 1000,
    "heads": 4096,
    "mlp_hidden": 1_048_576,
    "register_tokens": 65_536,
    "pool_heads": 4096,
    "pool_hidden": 1_048_576,
    "projection": 1_048_576,
    "classes": 10_000_000,
}
"""Largest values, each some ten times that of any published model (ViT-22B: width 6144, depth 48).

A file may come from anybody, and one number of it must not fill the memory.
"""
CHANNELS_OF_ROTARY = 4
"""A frequency turns two channels by the row and two by the column."""
MAX_SIDE = 65_536
"""Largest side of an image in pixels."""


def check_sizes(spec: "VitSpec") -> None:
    """Raise RequestError unless every number of `spec` is valid, alone and with the others."""
    _check_numbers(spec)
    if min(spec.image_size) < spec.patch_size:
        height, width = spec.image_size
        raise RequestError(
            f"the image of {height}x{width} is smaller than a patch of {spec.patch_size}.",
            f"take an image size whose sides are {spec.patch_size} or more.",
        )
    if spec.width % spec.heads:
        raise RequestError(
            f"{spec.heads} heads do not divide the width {spec.width}.",
            f"take a number of heads that divides {spec.width}.",
        )
    if not 0 <= spec.dropout < 1:
        raise RequestError(f"dropout is {spec.dropout}.", "give a probability below 1.")
    for name in ("classes", "projection", "pool_heads", "pool_hidden"):
        if getattr(spec, name) is not None and getattr(spec, name) < 1:
            raise RequestError(f"{name} is {getattr(spec, name)}.", f"leave {name} out.")


def check_parts(spec: "VitSpec") -> None:
    """Raise RequestError unless the attention pool and the positions fit the other parts."""
    if spec.pool != "map" and (spec.pool_heads or spec.pool_hidden):
        message = "pool_heads and pool_hidden belong to pool = 'map'."
        raise RequestError(message, "leave them out.")
    if spec.pool_heads and spec.width % spec.pool_heads:
        message = f"{spec.pool_heads} heads of the pool do not divide the width {spec.width}."
        raise RequestError(message, f"take a number of heads that divides {spec.width}.")
    if spec.relative_bias and (spec.prefix_tokens != 1 or not spec.class_token):
        message = "relative_bias needs a class token, and no other tokens before the patches."
        raise RequestError(message, "set class_token = true, or leave relative_bias out.")
    if spec.rotary and spec.head_dim % CHANNELS_OF_ROTARY:
        message = f"rotary positions turn a multiple of {CHANNELS_OF_ROTARY} channels of a head, "
        message += f"and a head has {spec.head_dim}."
        raise RequestError(message, f"take another number of heads for the width {spec.width}.")


def check_divides(spec: "VitSpec") -> None:
    """Raise RequestError unless the patches cover the whole image.

    A trained model may leave out pixels at the right and at the bottom, as its convolution does. In
    a new model that is a mistake.
    """
    if any(side % spec.patch_size for side in spec.image_size):
        height, width = spec.image_size
        raise RequestError(
            f"patch_size {spec.patch_size} does not divide the image of {height}x{width}.",
            f"take an image size whose sides are multiples of {spec.patch_size}.",
        )


def _check_numbers(spec: "VitSpec") -> None:
    """Raise RequestError unless every number is finite and, where it has to be, positive."""
    for name in ("norm_eps", "mlp_ratio", "dropout"):
        if not -LARGEST <= getattr(spec, name) <= LARGEST:  # NaN is not either
            raise RequestError(f"{name} is {getattr(spec, name)}.", f"give {name} as a number.")
    if spec.mlp_ratio > MAX_MLP_RATIO:
        raise RequestError(f"mlp_ratio is {spec.mlp_ratio}.", f"give {MAX_MLP_RATIO} at most.")
    for name, largest in MAX_SIZES.items():
        if (getattr(spec, name) or 0) > largest:
            message = f"{name} is {getattr(spec, name)}, and {largest} is the largest."
            raise RequestError(message, f"give {name} as a size of a real model.")
    if max(spec.image_size) > MAX_SIDE:
        message = f"image_size is {max(spec.image_size)}, and {MAX_SIDE} is the largest."
        raise RequestError(message, "give a smaller image_size.")
    for name in POSITIVE:
        if getattr(spec, name) <= 0:
            raise RequestError(f"{name} is {getattr(spec, name)}.", f"give a positive {name}.")


def check_tokens(spec: "VitSpec") -> None:
    """Raise RequestError unless the tokens, the pool and what follows the pool fit together."""
    if spec.register_tokens < 0:
        raise RequestError(f"register_tokens is {spec.register_tokens}.", "give 0 or more.")
    if spec.pool.startswith("token") and not spec.class_token:
        raise RequestError(
            f"pool = {spec.pool!r} needs a class token.",
            "set class_token = true or pool = 'mean'.",
        )
    if spec.pool == "token_patch_mean" and spec.norm_after_pool:
        raise RequestError(
            "norm_after_pool has no meaning with pool = 'token_patch_mean'.",
            "set norm_after_pool = false.",
        )
    if spec.distillation_token and spec.pool not in {"token", "none"}:
        raise RequestError(
            "distillation_token needs pool = 'token'.",
            "set that, or distillation_token = false.",
        )
    if spec.distillation_token and spec.projection is not None:
        raise RequestError(
            "distillation_token excludes a projection.", "keep the one the model has."
        )
    if spec.projection is not None and spec.classifies:
        raise RequestError(
            "projection and classes exclude each other.", "keep the one the model has."
        )
    follows_pool = spec.classifies or spec.projection is not None or spec.norm_after_pool
    if spec.pool == "none" and follows_pool:
        raise RequestError(
            "pool = 'none' leaves nothing to classify, project or normalize.",
            "leave classes, projection and norm_after_pool out, or set a pool.",
        )


def normalize_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a spec with tuples in place of lists; `image_size` may be one side."""
    size = values.get("image_size")
    pair = {"image_size": (size, size)} if isinstance(size, int) else {}
    lists = {name: tuple(one) for name, one in values.items() if isinstance(one, list)}
    return {**values, **lists, **pair}
