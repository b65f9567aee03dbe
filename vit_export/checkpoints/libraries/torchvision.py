"""torchvision: its builders by name; it writes no config.json, so that `--arch` names them."""

from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.libraries.base import Config, Judge, Library
from vit_export.checkpoints.libraries.building import load_judge, report_failure

KEY = "torchvision"
"""Key of the config that stands for a name; torchvision itself writes none."""
RENAMED = {"linear_1": "0", "linear_2": "3"}
"""Layers of an MLP as files before torchvision 0.14 call them, and as newer ones do."""


def _list_names(torchvision: Any) -> Iterable[str]:
    names: list[str] = torchvision.models.list_models()
    return names


def _sketch(name: str) -> Config:
    return {KEY: name}


def _describe(
    _torchvision: Any, name: str, checkpoint: Checkpoint, hints: CheckpointHints
) -> Config:
    """Return the builder's name and the arguments that the tensors show."""
    tensors = checkpoint.tensors
    heads = [tensor for key, tensor in tensors.items() if _is_classifier(key)]
    arguments: dict[str, Any] = {"num_classes": len(heads[-1])} if heads else {}
    positions, patches = tensors.get("encoder.pos_embedding"), tensors.get("conv_proj.weight")
    if positions is not None and patches is not None:
        arguments["image_size"] = isqrt(positions.shape[1] - 1) * patches.shape[-1]
    if hints.heads is not None:
        arguments["num_heads"] = hints.heads
    return {KEY: name, "arguments": arguments}


def _is_classifier(name: str) -> bool:
    return name.startswith("heads.") and name.endswith("weight")


def _find_name(config: Config) -> str:
    return str(config.get(KEY) or "")


def _build(torchvision: Any, config: Config, tensors: Mapping[str, Tensor]) -> Judge:
    """Return torchvision's model with the tensors; a replaced head takes the place of its own."""
    from torch import nn

    name, arguments = _find_name(config), config.get("arguments", {})
    with report_failure(f"torchvision cannot build its {name}"):
        module = torchvision.models.get_model(name, weights=None, **arguments).float().eval()
    renamed = {_rename(key): tensor for key, tensor in tensors.items()}
    heads = [key for key in renamed if _is_classifier(key)]
    if not heads:
        module.heads = nn.Identity()
    elif len(heads) == 1:  # `heads = Linear`, or `Sequential(Dropout, Linear)`, as tutorials do
        prefix = heads[0].removesuffix("weight")
        for part in ("weight", "bias"):
            if prefix + part in renamed:
                renamed[f"heads.head.{part}"] = renamed.pop(prefix + part)
    return load_judge(TORCHVISION, module, renamed, name)


def _rename(name: str) -> str:
    return ".".join(RENAMED.get(word, word) for word in name.split("."))


TORCHVISION = Library(
    name="torchvision",
    package="torchvision",
    example="torchvision:vit_b_16",
    names=_list_names,
    sketch=_sketch,
    describe=_describe,
    find_name=_find_name,
    build=_build,
)
