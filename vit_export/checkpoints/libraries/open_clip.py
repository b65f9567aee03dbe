"""open_clip: its whole CLIP by a name or an open_clip_config.json; the image tower answers."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from torch import Tensor

from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.libraries.base import Config, Judge, Library
from vit_export.checkpoints.libraries.building import load_judge, report_failure

KEY = "model_cfg"
"""Key of an open_clip_config.json that holds the architecture."""
NAME = "open_clip"
"""Key beside it, for an architecture that `--arch` names."""


def _list_names(open_clip: Any) -> Iterable[str]:
    names: list[str] = open_clip.list_models()
    return names


def _sketch(name: str) -> Config:
    return {NAME: name}


def _describe(
    open_clip: Any, name: str, _checkpoint: Checkpoint, _hints: CheckpointHints
) -> Config:
    """Return what open_clip's own configuration says of a name."""
    return {NAME: name, KEY: deepcopy(open_clip.get_model_config(name))}


def _find_name(config: Config) -> str:
    return str(config.get(NAME) or (KEY if KEY in config else ""))


def _build(open_clip: Any, config: Config, tensors: Mapping[str, Tensor]) -> Judge:
    """Return open_clip's model with the tensors; the text tower is left as it is drawn."""
    arguments = dict(deepcopy(config[KEY]))
    custom = arguments.pop("custom_text", False) or "hf_model_name" in arguments.get("text_cfg", {})
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    name = _find_name(config)
    with report_failure(f"open_clip cannot build its {name}"):
        module = kind(**arguments).float().eval()
    image = {key: tensor for key, tensor in tensors.items() if key.startswith("visual.")}
    judge = load_judge(OPEN_CLIP, module, image, name)
    missing = tuple(key for key in judge.missing if key.startswith("visual."))
    return replace(judge, answer=module.encode_image, missing=missing)


OPEN_CLIP = Library(
    name="open_clip",
    package="open_clip_torch",
    example="open_clip:ViT-B-32",
    names=_list_names,
    sketch=_sketch,
    describe=_describe,
    find_name=_find_name,
    build=_build,
)
