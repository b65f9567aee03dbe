"""A folder of a checkpoint: which of its files holds the weights, and the JSON files beside it."""

import json
import re
from pathlib import Path
from typing import Any

from vit_export.core.errors import RequestError

PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar", ".pkl")
"""Ends of names of files that torch.save wrote."""
SUFFIXES = (*PICKLE_SUFFIXES, ".safetensors")
WEIGHTS_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
"""Names that a folder is searched for, in this order; else its only weights file is read."""
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
NOT_WEIGHTS = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state(_\d+)?|random_states(_\d+)?"
    r"|adapter_model)\..*"
)
"""Names of files that a training keeps beside the weights to go on."""
MARKERS = {
    "saved_model.pb": "a SavedModel of TensorFlow",
    "Manifest.json": "a Core ML package",
    "flax_model.msgpack": "a model of Flax",
    "tf_model.h5": "a model of TensorFlow",
}
"""Names of files to what a folder is that has no weights of PyTorch."""


def find_weights_file(folder: Path) -> Path:
    """Return the file of a folder that holds the weights.

    Raises:
        RequestError: the folder has no such file, or several of which none has a usual name.
    """
    for name in (*WEIGHTS_FILES, *ADAPTER_FILES):
        if (folder / name).is_file():
            return folder / name
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(SUFFIXES) and not NOT_WEIGHTS.fullmatch(path.name)
    ]
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(path.name for path in files)
        message = f"{folder} holds several weights files, and none is {WEIGHTS_FILES[0]}: {names}."
        raise RequestError(message, f"name the file, such as --weights {files[0]}")
    for name, kind in MARKERS.items():
        if (folder / name).exists():
            fix = "give the PyTorch weights of the same model, as safetensors or from torch.save."
            raise RequestError(f"{folder} is {kind}.", fix)
    message = f"{folder} holds no weights file: none ends in {', '.join(SUFFIXES)}."
    raise RequestError(message, "check the path, or name the file.")


def read_processor(folder: Path) -> dict[str, Any]:
    """Return the settings of the image processor in a folder; empty if there are none."""
    settings = read_json(folder / "processor_config.json", optional=True).get("image_processor")
    return settings or read_json(folder / "preprocessor_config.json", optional=True)


def read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """Return the object in a JSON file; with `optional`, an empty one if there is no such file.

    Raises:
        RequestError: the file can't be read, or holds something else.
    """
    if optional and not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path} can't be read: {error}.", "copy it again.") from None
    if not isinstance(values, dict):
        raise RequestError(f"{path} is not a JSON object.", "copy it again.")
    return values
