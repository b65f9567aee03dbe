"""The sizes and the parts of a model that the tensors of its checkpoint show."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from vit_export.checkpoints.families.base import Facts
from vit_export.checkpoints.formats import INCOMPLETE
from vit_export.core.errors import RequestError

TABLE = "blocks.0.attention.relative_bias.table"
Tensors = Mapping[str, Tensor]

ANCHORS = {"embedding.projection.weight": 4, "blocks.0.mlp.contract.weight": 2}
"""Tensors that every size is inferred from, and their numbers of axes."""
BLOCK = r"blocks\.([0-9]{1,6})\."
MATRIX = 2
"""Number of a matrix's axes."""


def infer_sizes(tensors: Tensors, where: str, original_name: Callable[[str], str] = str) -> Facts:
    """Return the sizes that the shapes of a checkpoint show.

    Raises:
        RequestError: a tensor that sizes are inferred from is missing, or a block is.
    """
    for name, axes in ANCHORS.items():
        if name not in tensors or tensors[name].ndim != axes or not tensors[name].numel():
            message = f"{where}: {original_name(name)} is missing or has no {axes} axes"
            raise RequestError(f"{message}.", INCOMPLETE)
    width, channels, patch, _ = tensors["embedding.projection.weight"].shape
    classifier = tensors.get("head.classifier.weight")
    rows = None if classifier is None else count_rows(classifier)
    projects = rows is not None and "embedding_norm.weight" in tensors
    projects = projects and "head.classifier.bias" not in tensors  # CLIP's projection has none
    return {
        "width": width,
        "channels": channels,
        "patch_size": patch,
        "depth": _infer_depth(tensors, where),
        "heads": tensors[TABLE].shape[-1] if TABLE in tensors and tensors[TABLE].ndim else None,
        "mlp_hidden": (hidden := tensors["blocks.0.mlp.contract.weight"].shape[1]),
        "pool_hidden": _infer_pool_hidden(tensors, hidden),
        "projection": rows if projects else None,
        "classes": None if projects else rows,
    }


def _infer_depth(tensors: Tensors, where: str) -> int:
    """Return the number of blocks; raise RequestError if one before the last is missing."""
    numbers = {int(match[1]) for name in tensors if (match := re.match(BLOCK, name))}
    depth = max(numbers) + 1
    if len(numbers) < depth:
        gap = next(number for number in range(depth) if number not in numbers)
        message = f"{where}: block {gap} is missing, and block {depth - 1} is there."
        raise RequestError(message, INCOMPLETE)
    return depth


def _infer_pool_hidden(tensors: Tensors, hidden: int) -> int | None:
    """Return the hidden width of an attention pool's MLP; None if it is that of the blocks."""
    contract = tensors.get("head.attention_pool.mlp.contract.weight")
    if contract is None or contract.ndim != MATRIX or contract.shape[1] == hidden:
        return None
    return contract.shape[1]


def count_rows(tensor: Tensor) -> int:
    """Return the length of the first axis; 0 for a scalar."""
    return len(tensor) if tensor.ndim else 0


def infer_parts(tensors: Tensors) -> Facts:
    """Return the fields of VitSpec that say which parts the model has."""
    registers = tensors.get("embedding.register_tokens")
    return {
        "patch_bias": "embedding.projection.bias" in tensors,
        "qkv_bias": "blocks.0.attention.qkv.bias" in tensors,
        "head_bias": "head.classifier.bias" in tensors or "head.classifier.weight" not in tensors,
        "norm_before_blocks": "embedding_norm.weight" in tensors,
        "norm_before_pool": "head.norm.weight" in tensors,
        "norm_after_pool": "head.pooled_norm.weight" in tensors,
        "norm_in_attention": "blocks.0.attention.norm.weight" in tensors,
        "relative_bias": TABLE in tensors,
        "norm_in_mlp": "blocks.0.mlp.norm.weight" in tensors,
        "layer_scale": "blocks.0.attention_scale.gamma" in tensors,
        "class_token": "embedding.class_token" in tensors,
        "distillation_token": "embedding.distillation_token" in tensors,
        "register_tokens": 0 if registers is None else count_rows(registers),
    }
