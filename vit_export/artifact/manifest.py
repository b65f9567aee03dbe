"""What an artifact says about itself: where it comes from and what it has to answer.

The manifest is JSON inside the file, so that a device with neither torch nor the weights can read
the preprocessing and the labels, and can repeat the proof. It holds no time and no path: the same
request gives the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from vit_export.artifact.batch import Batch
from vit_export.artifact.layouts import LAYOUT, upgrade
from vit_export.artifact.outputs import OutputFormat
from vit_export.artifact.precision import PRECISIONS
from vit_export.artifact.records import BuildSettings, CalibrationInfo, Fp16Range, GraphInfo
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.from_json import read_record, read_value
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.signature import Signature
from vit_export.model.vit.spec import VitSpec

KEY = "vit_export"
"""The name of the manifest inside a file."""
INTERFACE_KEY = f"{KEY}_interface"
"""The name of `Manifest.interface` inside a file, for programs that read no JSON."""
INTERFACE = 2
"""Rises when what goes in or comes out changes its meaning."""
KEYS = {"fp16_range": "reach"}
"""Fields that stand in the JSON under an older name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """Everything that belongs to one artifact."""

    target: str
    model: str
    signature: Signature
    """What the model takes and answers, before anything is put around it."""
    spec: VitSpec | None = None
    """The spec of a known Vision Transformer; None for any other module."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """What the request changed of the model's own values."""
    precision: str
    batch: Batch
    weights_sha256: str
    weights_from: str
    """In words: shipped, random from a seed, or the name of a file."""
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]
    versions: Mapping[str, str]
    """Versions of the packages that made the file, by name."""
    settings: BuildSettings = field(default_factory=BuildSettings)
    graph: GraphInfo | None = None
    """How an ONNX graph came about; None for other files."""
    layers: Mapping[str, str] = field(default_factory=dict)
    """How each quantized layer is quantized."""
    fp16_range: Fp16Range | None = None
    """How large the numbers get; None unless the file is in fp16."""
    calibration: CalibrationInfo | None = None
    """The images that scales come from; None where the user gave none."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """What a backend's compiler made of the graph. The backend checks it when it reads it."""
    engine_run: bool | None = None
    """Whether the compiled file ran where it was built; None where nothing is compiled."""
    tolerance: Tolerance
    reference: Reference
    layout: int = LAYOUT

    @property
    def takes_pixels(self) -> bool:
        """Whether the file preprocesses by itself: pixels (B, H, W, C) in uint8 go in."""
        return self.settings.preprocess == "graph"

    @property
    def head(self) -> OutputFormat:
        """What stands behind the model."""
        return self.settings.head

    @property
    def interface(self) -> str:
        """What goes into the file and comes out, in one line that a program can compare.

        It ends with the shape of the model's answer, so that other classes are noticed.
        """
        takes = "levels" if self.takes_pixels else "normalized"
        shape = "x".join(map(str, self.signature.answer_shape))
        return f"{INTERFACE} {takes} {self.head} {shape}"

    def require_spec(self) -> VitSpec:
        """The spec of a known Vision Transformer.

        Raises:
            RequestError: the file holds another model, of which no spec is known.
        """
        if self.spec is None:
            message = f"{self.model} is no Vision Transformer that vit-export knows."
            raise RequestError(message, "name a file of a known family.")
        return self.spec

    def check_plain(self, path: Path) -> None:
        """Raise RequestError unless the file at `path` takes and answers what the model does."""
        if self.takes_pixels or self.head != "logits":
            message = f"{path} is more than the model: it preprocesses, or answers no logits."
            raise RequestError(message, "export it with --preprocess none --head logits, too.")

    def to_json(self) -> str:
        """One line of JSON, the same for the same manifest."""
        values = {KEYS.get(f.name, f.name): getattr(self, f.name) for f in fields(self)}
        if not self.engine:
            del values["engine"], values["engine_run"]
        plain = values | {
            "signature": asdict(self.signature),
            "spec": asdict(self.spec) if self.spec else None,
            "batch": str(self.batch),
            "preprocessing": self.preprocessing.to_mapping() if self.preprocessing else None,
            "settings": self.settings.values,
            "graph": self.graph.to_mapping() if self.graph else {},
            "reach": asdict(self.fp16_range) if self.fp16_range else {},
            "calibration": asdict(self.calibration) if self.calibration else {},
            "tolerance": asdict(self.tolerance),
            "reference": self.reference.to_mapping(),
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """The manifest that `to_json` wrote, in this layout or an earlier one.

        Args:
            text: the JSON.
            where: the file's name, for errors.

        Raises:
            RequestError: no manifest, one of a newer layout, or a field that is missing, unknown or
                of another type or range; the message names the field.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            message = f"{where}: its manifest can't be read ({type(error).__name__}: {error})."
            raise RequestError(message, "export the model again.") from None
        if not isinstance(values, dict):
            raise RequestError(f"{where}: its manifest is no object.", "export the model again.")
        values = upgrade(values, where)
        known = {KEYS.get(one.name, one.name) for one in fields(cls)}
        for name in values:
            if name not in known:
                raise RequestError(f"{where}: unknown key {name!r}.", did_you_mean(name, known))
        return cls(**_read_fields(values, f"{where}: "))


def _read_fields(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Every field of a manifest, checked."""
    types = {
        "target": str,
        "model": str,
        "precision": str,
        "weights_sha256": str,
        "weights_from": str,
        "overrides": Mapping[str, Any],
        "labels": tuple[str, ...],
        "versions": Mapping[str, str],
        "layers": Mapping[str, str],
        "layout": int,
    }
    optional: dict[str, Any] = {"overrides": {}, "layers": {}}
    plain = {
        name: read_value(kind, values.get(name, optional.get(name)), f"{where}{name}")
        for name, kind in types.items()
    }
    if plain["precision"] not in PRECISIONS:
        fix = did_you_mean(plain["precision"], PRECISIONS)
        raise RequestError(f"{where}precision is {plain['precision']!r}.", fix)
    return plain | _read_parts(values, where)


def _read_parts(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields that are records of their own."""

    def part(name: str) -> Mapping[str, Any]:
        value: Mapping[str, Any] = read_value(
            Mapping[str, Any], values.get(name) or {}, f"{where}{name}"
        )
        return value

    spec, steps = part("spec"), part("preprocessing")
    graph, fp16_range, calibration = part("graph"), part("reach"), part("calibration")
    return {
        "signature": read_record(Signature, values.get("signature"), f"{where}signature"),
        "spec": VitSpec.from_mapping(spec, f"{where}spec") if spec else None,
        "batch": _read_batch(values.get("batch"), where),
        "preprocessing": Preprocessing.from_mapping(steps, where) if steps else None,
        "settings": BuildSettings.from_mapping(part("settings"), f"{where}settings"),
        "graph": GraphInfo.from_mapping(graph, f"{where}graph") if graph else None,
        "fp16_range": read_record(Fp16Range, fp16_range, f"{where}reach") if fp16_range else None,
        "calibration": (
            read_record(CalibrationInfo, calibration, f"{where}calibration")
            if calibration
            else None
        ),
        "engine": part("engine"),
        "engine_run": read_value(bool | None, values.get("engine_run"), f"{where}engine_run"),
        "tolerance": read_record(Tolerance, part("tolerance"), f"{where}tolerance"),
        "reference": Reference.from_mapping(part("reference"), f"{where}reference"),
    }


def _read_batch(value: object, where: str) -> Batch:
    try:
        return Batch.parse(read_value(str, value, "batch"))
    except RequestError as error:
        raise RequestError(f"{where}{error.message}", error.fix) from None
