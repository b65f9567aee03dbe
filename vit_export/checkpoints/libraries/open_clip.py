"""open_clip: its whole CLIP by a name or an open_clip_config.json; the image tower answers."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor

from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.libraries.base import (
    MISFIT,
    CannotJudgeError,
    Config,
    Judge,
    Library,
    first_line,
    load_tensors,
)

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
    try:
        module = kind(**arguments).float().eval()
    except Exception as error:  # noqa: BLE001 values of anybody reach constructors unchecked
        message = f"open_clip cannot build its {_find_name(config)} ({first_line(error)})."
        raise CannotJudgeError(message, MISFIT) from None
    image = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}
    missing, unexpected = load_tensors(module, image, "open_clip's model")
    return Judge(
        module=module,
        origin=f"open_clip {OPEN_CLIP.version}",
        name=_find_name(config),
        answer=module.encode_image,
        missing=tuple(name for name in missing if name.startswith("visual.")),
        unexpected=unexpected,
    )


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
