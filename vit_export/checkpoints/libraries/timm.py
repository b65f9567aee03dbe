"""timm: `create_model` with the architecture and the arguments that a config.json names."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.libraries.base import Config, Judge, Library
from vit_export.checkpoints.libraries.building import (
    OTHER_ARCH,
    check_shapes,
    load_judge,
    report_failure,
)
from vit_export.core.errors import RequestError

POOLS: Mapping[str, Mapping[str, Any]] = {
    "token": {"global_pool": "token"},
    "patch_mean": {"global_pool": "avg"},
    "mean": {"global_pool": "avg", "pool_include_prefix": True},
    "map": {"global_pool": "map"},
    "none": {"global_pool": ""},
}
"""Our pools to arguments of timm's `VisionTransformer`."""


def _list_names(timm: Any) -> Iterable[str]:
    names: list[str] = [*timm.list_models(), *timm.list_pretrained()]
    return names


def _sketch(name: str) -> Config:
    return {"architecture": name.partition(".")[0]}


def _describe(timm: Any, name: str, checkpoint: Checkpoint, hints: CheckpointHints) -> Config:
    """Return the config.json that timm would write for these tensors."""
    tensors = checkpoint.tensors
    classifier, projection = tensors.get("head.weight"), tensors.get("patch_embed.proj.weight")
    classes = 0 if classifier is None or not classifier.ndim else len(classifier)
    arguments = _translate_hints(hints)
    if projection is not None and projection.ndim == 4:  # noqa: PLR2004 (D, C, P, P)
        arguments["in_chans"] = projection.shape[1]
    with torch.device("meta"):
        model = _create(timm, name, {"num_classes": classes, **arguments}, f"timm:{name}")
    _check_takes(model, tensors, name)
    if "fc_norm.weight" in tensors and "fc_norm.weight" not in model.state_dict():
        arguments.setdefault("global_pool", "avg")
    size = hints.spec_fields().get("image_size") or _find_size(model, tensors)
    if size is not None:
        arguments["img_size"] = list(size)
    settings = {**model.pretrained_cfg}
    if size is not None or "in_chans" in arguments:
        _, *sides = settings["input_size"]
        settings["input_size"] = [arguments.get("in_chans", 3), *(size or sides)]
    return {
        "architecture": name.partition(".")[0],
        "num_classes": classes,
        "model_args": arguments,
        "global_pool": arguments.get("global_pool", getattr(model, "global_pool", "")),
        "pretrained_cfg": {key: value for key, value in settings.items() if value is not None},
    }


def _check_takes(model: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise RequestError unless the model has these tensors, their positions aside."""
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    if not shapes.keys() & tensors.keys():
        first, own = next(iter(tensors)), next(iter(shapes))
        message = f"timm's {name} has other tensors: {own} and more, and no {first}."
        raise RequestError(message, OTHER_ARCH)
    misfits = {
        key: (tuple(tensor.shape), shapes[key])
        for key, tensor in tensors.items()
        if key in shapes and tuple(tensor.shape) != shapes[key] and key != "pos_embed"
    }
    check_shapes(misfits, f"timm's {name}", OTHER_ARCH)


def _translate_hints(hints: CheckpointHints) -> dict[str, Any]:
    """Return the hints as arguments of timm's `VisionTransformer`."""
    arguments: dict[str, Any] = {**POOLS.get(hints.pool or "", {})}
    if hints.heads is not None:
        arguments["num_heads"] = hints.heads
    if hints.activation is not None:
        arguments["act_layer"] = hints.activation
    return arguments


def _find_size(model: Any, tensors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Return the square image size that the number of positions shows, if it is not the model's."""
    positions, own = tensors.get("pos_embed"), getattr(model, "pos_embed", None)
    patches = getattr(getattr(model, "patch_embed", None), "num_patches", None)
    if positions is None or own is None or patches is None or positions.shape == own.shape:
        return None
    prefix = own.shape[1] - patches
    count = positions.shape[-2] - prefix
    side = isqrt(max(count, 0))
    if side**2 != count:
        return None
    patch, _ = model.patch_embed.patch_size
    return (side * patch, side * patch)


def _create(timm: Any, name: str, arguments: Mapping[str, Any], where: str) -> Any:
    """Return timm's model, with random weights.

    Raises:
        CannotJudgeError: timm has no such model, or it does not take the arguments.
    """
    with report_failure(f"timm cannot build the model that {where} names"):
        return timm.create_model(name, pretrained=False, **arguments)


def _find_name(config: Config) -> str:
    return str(config.get("architecture") or "")


def _build(timm: Any, config: Config, tensors: Mapping[str, Tensor]) -> Judge:
    """Return timm's model with the tensors, built as timm builds it from a folder."""
    name = _find_name(config)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        module = _create(timm, f"local-dir:{folder}", {}, "its config.json").float().eval()
    return load_judge(TIMM, module, tensors, name)


TIMM = Library(
    name="timm",
    package="timm",
    example="timm:vit_base_patch16_224",
    names=_list_names,
    sketch=_sketch,
    describe=_describe,
    find_name=_find_name,
    build=_build,
)
