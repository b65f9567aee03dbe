"""The spec of a checkpoint: what its tensors show, completed by facts from elsewhere.

Shapes show the sizes; nothing shows the number of heads, the activation or the epsilon of the
norms. Those come from the family's conventions, a config.json, a preset or an explicit option, in
that order, the later over the earlier, and are never guessed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from math import isqrt
from typing import Any, get_args

from torch import Tensor

from vit_export.checkpoints.families.base import Facts
from vit_export.core.errors import RequestError
from vit_export.model.vit.spec import Mlp, VitSpec

Tensors = Mapping[str, Tensor]

ASKED_FOR = {
    "heads": "--heads N",
    "mlp": "--activation gelu|gelu_tanh|quick_gelu",
    "norm_eps": "--norm-eps X",
    "qkv_layout": None,
    "attention_scale": None,
    "pool": "--pool token|mean|patch_mean|token_patch_mean",
}
"""What no tensor shows, and the option that says it; None where only a preset does."""
ANCHORS = {
    "embedding.projection.weight": 4,
    "embedding.positions": 2,
    "blocks.0.mlp.contract.weight": 2,
}
"""Tensors without which nothing can be told, and how many axes they have."""
BLOCK = r"blocks\.([0-9]{1,6})\."


def infer_spec(
    tensors: Tensors, facts: Facts, where: str, original: Callable[[str], str] = str
) -> VitSpec:
    """The spec of a model with these tensors, under our names.

    Args:
        tensors: of the checkpoint, renamed.
        facts: fields of VitSpec known from elsewhere. `image_size` is used where positions are not
            square; `heads` may be a mapping from width.
        where: names the checkpoint in errors.
        original: our name of a tensor to that of the checkpoint.

    Raises:
        RequestError: tensors without which nothing can be told, or facts that nobody gave.
    """
    shown = sizes_of(tensors, where, original) | _parts(tensors)
    known = {name: value for name, value in facts.items() if name in _FIELDS} | shown
    known["heads"] = _heads(facts.get("heads"), shown["width"])
    known |= _positions(tensors, known, facts.get("image_size"), where)
    known["pool"] = facts.get("pool") or _pool(shown)
    if _takes_two_vectors(tensors, shown["width"]):
        known["pool"] = "token_patch_mean"
    if _is_gated(tensors):
        known["mlp"] = "swiglu"
    unknown = [name for name in ASKED_FOR if known.get(name) is None]
    if unknown:
        options = list(dict.fromkeys(filter(None, (ASKED_FOR[name] for name in unknown))))
        single = f"{' '.join(options)}, or " if all(ASKED_FOR[name] for name in unknown) else ""
        message = f"{where}: its tensors don't tell {', '.join(unknown)}."
        raise RequestError(message, f"give {single}--model NAME of the same architecture.")
    if known["mlp"] not in get_args(Mlp):
        message = f"{where}: its MLP's activation, {known['mlp']!r}, is not built yet."
        raise RequestError(message, f"export another model; built: {', '.join(get_args(Mlp))}.")
    try:
        return VitSpec(**known)
    except RequestError as error:
        raise RequestError(f"{where}: {error.message}", error.fix) from None


_FIELDS = {field.name for field in fields(VitSpec)}


def sizes_of(tensors: Tensors, where: str, original: Callable[[str], str] = str) -> Facts:
    """The sizes that the shapes of a whole checkpoint show.

    Raises:
        RequestError: tensors without which nothing can be told are missing.
    """
    for name, axes in ANCHORS.items():
        if name not in tensors or tensors[name].ndim != axes or not tensors[name].numel():
            message = f"{where}: {original(name)} is missing or has no {axes} axes."
            raise RequestError(message, "give a whole checkpoint.")
    width, channels, patch, _ = tensors["embedding.projection.weight"].shape
    classifier = tensors.get("head.classifier.weight")
    rows = None if classifier is None else _rows(classifier)
    projects = rows is not None and "embedding_norm.weight" in tensors
    projects = projects and "head.classifier.bias" not in tensors  # CLIP's projection has none
    return {
        "width": width,
        "channels": channels,
        "patch_size": patch,
        "depth": _depth(tensors, where),
        "mlp_hidden": tensors["blocks.0.mlp.contract.weight"].shape[1],
        "projection": rows if projects else None,
        "classes": None if projects else rows,
    }


def _depth(tensors: Tensors, where: str) -> int:
    """How many blocks there are, from the first without a gap."""
    numbers = {int(found[1]) for name in tensors if (found := re.match(BLOCK, name))}
    depth = max(numbers) + 1
    if len(numbers) < depth:
        lost = next(number for number in range(depth) if number not in numbers)
        message = f"{where}: block {lost} is missing, and block {depth - 1} is there."
        raise RequestError(message, "give a whole checkpoint.")
    return depth


def _rows(tensor: Tensor) -> int:
    return len(tensor) if tensor.ndim else 0


def _parts(tensors: Tensors) -> Facts:
    registers = tensors.get("embedding.register_tokens")
    return {
        "patch_bias": "embedding.projection.bias" in tensors,
        "qkv_bias": "blocks.0.attention.qkv.bias" in tensors,
        "head_bias": "head.classifier.bias" in tensors or "head.classifier.weight" not in tensors,
        "norm_before_blocks": "embedding_norm.weight" in tensors,
        "norm_before_pool": "head.norm.weight" in tensors,
        "norm_after_pool": "head.pooled_norm.weight" in tensors,
        "layer_scale": "blocks.0.attention_scale.gamma" in tensors,
        "class_token": "embedding.class_token" in tensors,
        "distillation_token": "embedding.distillation_token" in tensors,
        "register_tokens": 0 if registers is None else _rows(registers),
    }


def _heads(told: Any, width: int) -> int | None:
    heads: int | None = told.get(width) if isinstance(told, Mapping) else told
    return heads


def _pool(shown: Facts) -> str:
    """Timm's fc_norm comes with the mean over the patches."""
    averages = shown["norm_after_pool"] or not shown["class_token"]
    return "patch_mean" if averages else "token"


def _takes_two_vectors(tensors: Tensors, width: int) -> bool:
    """Whether the classifier reads the class token and the mean of the patches side by side."""
    classifier = tensors.get("head.classifier.weight")
    return classifier is not None and classifier.ndim == 2 and classifier.shape[1] == 2 * width  # noqa: PLR2004


def _is_gated(tensors: Tensors) -> bool:
    expand = tensors.get("blocks.0.mlp.expand.weight")
    hidden = tensors["blocks.0.mlp.contract.weight"].shape[1]
    return expand is not None and _rows(expand) == 2 * hidden


def _positions(tensors: Tensors, known: Facts, size: Any, where: str) -> Facts:
    """Which tokens the positions cover, and the size of image that leaves."""
    count, patch = len(tensors["embedding.positions"]), known["patch_size"]
    registers = known["register_tokens"]
    prefix = known["class_token"] + known["distillation_token"] + registers
    covered = {"all": prefix, "no_registers": prefix - registers, "patches": 0}
    kinds = (known["positions"],) if "positions" in known else tuple(covered)
    if size is not None:
        wanted = (size[0] // patch) * (size[1] // patch)
        fitting = [(kind, size) for kind in kinds if count - covered[kind] == wanted]
    else:
        fitting = [
            (kind, (side * patch, side * patch))
            for kind in kinds
            if (side := isqrt(max(count - covered[kind], 0))) ** 2 == count - covered[kind]
        ]
    # with few tokens several kinds cover the same ones, and are the same
    if len({covered[kind] for kind, _ in fitting}) != 1:
        message = f"{where}: {count} positions don't tell the size of the images."
        if size is not None:
            message = f"{where}: {count} positions are not those of {size[0]}x{size[1]} images."
        raise RequestError(message, "give --trained-size HxW.")
    kind, size = fitting[0]
    return {"positions": kind, "image_size": tuple(size)}
