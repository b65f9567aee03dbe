"""ONNX files whose manifest or weights somebody edited after the export."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

KEY = "vit_export"


def edit_manifest(path: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a copy of an artifact whose manifest `change` has edited in place."""
    model = onnx.load(path)
    (entry,) = [one for one in model.metadata_props if one.key == KEY]
    values = json.loads(entry.value)
    change(values)
    entry.value = json.dumps(values)
    onnx.save(model, out)
    return out


def set_value(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    """An edit that sets one field, by the keys that lead to it."""

    def change(values: dict[str, Any]) -> None:
        *outer, last = path
        for key in outer:
            values = values[key]
        values[last] = value

    return change


def tamper_weight(path: Path, out: Path, amount: float = 3.0) -> Path:
    """Write a copy of an artifact in which one weight of the largest tensor has grown."""
    model = onnx.load(path)
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] += amount
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, out)
    return out


def move_weights_out(path: Path, out: Path) -> Path:
    """Write a copy of an artifact whose weights stand beside it; return the path of the weights."""
    data = out.with_name("weights")
    onnx.save(onnx.load(path), out, save_as_external_data=True, location=data.name)
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    data = data.rename(out.with_name(f"{out.name}.{digest[:12]}.data"))
    set_location(out, data.name)
    return data


def set_location(path: Path, name: str) -> None:
    """Make an ONNX file look for its external weights in the file `name`."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
    path.write_bytes(model.SerializeToString())


def read_answers(values: dict[str, Any]) -> np.ndarray:
    """The eager answers in a manifest's JSON."""
    stored = values["reference"]
    return np.frombuffer(base64.b64decode(stored["answers"]), "<f4").reshape(stored["shape"])
