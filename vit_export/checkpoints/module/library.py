"""`--module timm:NAME` and `transformers:DIR`: the model that the installed library builds.

Its code runs; code that a folder names never does, and nothing is downloaded.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from vit_export.checkpoints.families.timm_config import read_preprocessing
from vit_export.checkpoints.files import read_checkpoint
from vit_export.checkpoints.folder import read_json, read_processor
from vit_export.checkpoints.libraries import LIBRARIES
from vit_export.checkpoints.libraries.base import Absence, Library, import_library, quiet
from vit_export.checkpoints.libraries.building import report_failure
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.module.source import ModuleSource
from vit_export.checkpoints.module.weights import load_weights
from vit_export.core.errors import MissingError, RequestError
from vit_export.data.hf_processor import parse_processor
from vit_export.data.labels import read_config_labels
from vit_export.data.preprocessing import Preprocessing


def build_timm(
    request: ModuleRequest, weights: Path | None, seed: int, prefix: str | None
) -> ModuleSource:
    """Return timm's own model of a name, such as `vit_small_patch16_dinov3.lvd1689m`.

    A config.json beside the weights, and then the tag behind the dot, say the number of classes,
    the size of the images and their preprocessing.

    Raises:
        RequestError: timm has no such model, it does not take the arguments, or the weights do not
            fit.
        MissingError: timm is not installed.
    """
    library = LIBRARIES["timm"]
    timm = _require(library)
    library.check_name(timm, request.name)
    config = read_json(weights / "config.json", optional=True) if weights else {}
    settings = config.get("pretrained_cfg") or timm.get_pretrained_cfg(request.name).to_dict()
    classes = config.get("num_classes", settings.get("num_classes"))
    arguments = {"num_classes": classes, **(config.get("model_args") or {}), **request.arguments}
    arguments = {name: value for name, value in arguments.items() if value is not None}
    failure = report_failure(f"timm cannot build {request.name}", "give other --set values.")
    with failure, quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = timm.create_model(request.name, pretrained=False, **arguments)
    phrase, unused = f"random, seed {seed}", {}
    if weights is not None:
        fit = load_weights(module, weights, prefix, request.recorded)
        phrase, unused = weights.name, dict(fit.unused)
    return ModuleSource(
        module=module,
        weights_from=phrase,
        random_weights=weights is None,
        unused=unused,
        sample_shape=_read_shape(settings, arguments),
        classifies=bool(getattr(module, "num_classes", 0)),
        reading=_describe_reading(library),
        preprocessing=_read_timm_preprocessing(settings, arguments),
    )


def _read_shape(
    settings: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[int, int, int] | None:
    size = settings.get("input_size")
    if size is None:
        return None
    channels, height, width = size
    side = arguments.get("img_size", (height, width))
    height, width = (side, side) if isinstance(side, int) else side
    return arguments.get("in_chans", channels), height, width


def _read_timm_preprocessing(
    settings: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Preprocessing | None:
    """Return the transform of `timm.data`; None if its crop is one that is not supported."""
    config = {"pretrained_cfg": settings, "model_args": arguments}
    try:
        fields = read_preprocessing(config)
    except RequestError:
        return None
    if fields is None:
        return None
    return Preprocessing(**fields | {key: tuple(fields[key]) for key in ("mean", "std")})


def build_transformers(
    request: ModuleRequest,
    weights: Path | None,
    seed: int,  # noqa: ARG001 the folder has the weights
    prefix: str | None,
) -> ModuleSource:
    """Return the model of transformers that the config.json of a folder names.

    Raises:
        RequestError: the folder has no config.json, transformers has no such class (its code came
            with the folder), or tensors are missing.
        MissingError: transformers is not installed.
    """
    library, folder = LIBRARIES["transformers"], Path(request.name).expanduser()
    if request.arguments:
        message = "A folder of transformers is built from its config.json: it takes no --set."
        raise RequestError(message, "leave --set out, or change a copy of the config.json.")
    if not (folder / "config.json").is_file():
        message = f"--module {request.text}: there is no file {folder / 'config.json'}."
        raise RequestError(message, "name a folder that save_pretrained wrote.")
    transformers = _require(library)
    checkpoint = read_checkpoint(weights or folder, prefix=prefix)
    config = read_json(folder / "config.json")
    with quiet():
        judge = library.build(transformers, config, checkpoint.tensors)
    if judge.missing:
        more = f" and {len(judge.missing) - 1} more" if len(judge.missing) > 1 else ""
        message = f"{checkpoint.path} lacks {judge.missing[0]}{more} of {judge.name}."
        raise RequestError(message, "give the folder of the whole model.")
    vision = config.get("vision_config") or config
    shape = _read_config_shape(vision)
    labels = read_config_labels(config, len(config.get("id2label") or ()), str(folder))
    return ModuleSource(
        module=judge.module,
        weights_from=(weights or folder).name,
        unused=dict.fromkeys(judge.unexpected, f"{judge.name} does not have it"),
        sample_shape=shape,
        reading=_describe_reading(library),
        preprocessing=_read_processor(folder, shape),
        labels=labels,
    )


def _describe_reading(library: Library) -> str:
    return f"the model of {library.origin} is the reference"


def _read_config_shape(config: Mapping[str, Any]) -> tuple[int, int, int] | None:
    size = config.get("image_size")
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return config.get("num_channels", 3), height, width


def _read_processor(folder: Path, shape: tuple[int, int, int] | None) -> Preprocessing | None:
    """Return what the image processor of a folder does; None if it does what is not supported."""
    values = read_processor(folder)
    if not values or shape is None:
        return None
    try:
        return parse_processor(values, str(folder), channels=shape[0])
    except RequestError:
        return None


def _require(library: Library) -> Any:
    module = import_library(library)
    if isinstance(module, Absence):
        message = f"--module {library.name}:… needs {library.package}: {module.reason}."
        raise MissingError(message, module.fix)
    return module


Builder = Callable[[ModuleRequest, Path | None, int, str | None], ModuleSource]
LIBRARY_BUILDERS: dict[str, Builder] = {"timm": build_timm, "transformers": build_transformers}
"""What builds a model of a library, by the word before the colon."""
