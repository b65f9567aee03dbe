"""ONNX files whose manifest or weights somebody edited after the export."""

import base64
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


def read_answers(values: dict[str, Any]) -> np.ndarray:
    """The eager answers in a manifest's JSON."""
    stored = values["reference"]
    return np.frombuffer(base64.b64decode(stored["answers"]), "<f4").reshape(stored["shape"])
