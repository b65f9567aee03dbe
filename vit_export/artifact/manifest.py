"""What an artifact says about itself: its origin, its interface, and the eager model's answers.

The manifest is JSON inside the file, so that a device with neither torch nor the weights can read
the preprocessing and the labels, and can repeat the proof. It holds neither times nor paths: the
same request gives the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from vit_export.artifact.batch import Batch
from vit_export.artifact.consistency import check_consistent
from vit_export.artifact.layouts import LAYOUT, upgrade
from vit_export.artifact.outputs import OutputFormat
from vit_export.artifact.precision import PRECISIONS
from vit_export.artifact.records import BuildSettings, CalibrationInfo, Fp16Range, GraphInfo
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.from_json import read_record, read_value
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.signature import ProblemType, Signature
from vit_export.model.vit.spec import VitSpec

KEY = "vit_export"
"""The key of the manifest in a file's metadata."""
INTERFACE_KEY = f"{KEY}_interface"
"""The key of `Manifest.interface` in a file's metadata, for programs that read no JSON."""
INTERFACE = 2
"""Version of the interface; it rises when an input or output changes its meaning."""
KEYS = {"fp16_range": "reach"}
"""Fields with another key in the JSON: their former names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """Everything that belongs to one artifact."""

    target: str
    model: str
    signature: Signature
    """Inputs and outputs of the model itself, without a preprocessing or head in the file."""
    spec: VitSpec | None = None
    """The spec of a known Vision Transformer; None for any other module."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the model that the request changed."""
    preset: str = ""
    """Name of the shipped preset that gave labels and preprocessing; empty for other models."""
    precision: str
    batch: Batch
    weights_sha256: str
    weights_from: str
    """A phrase: the name of a file, `random, seed 0`, or a module in memory."""
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]
    problem_type: ProblemType = "single_label"
    """What the logits are for."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """What was assumed about the checkpoint, because nothing records it."""
    reading: str = ""
    """What confirmed the reading of the checkpoint; empty for models that were not read."""
    versions: Mapping[str, str]
    """Versions of the packages that made the file, by name."""
    settings: BuildSettings = field(default_factory=BuildSettings)
    graph: GraphInfo | None = None
    """How an ONNX graph was made; None for other files."""
    layers: Mapping[str, str] = field(default_factory=dict)
    """The scheme of each quantized layer, by layer name."""
    fp16_range: Fp16Range | None = None
    """The magnitudes inside an fp16 file; None for other precisions."""
    calibration: CalibrationInfo | None = None
    """The images that static scales were computed on; None without calibration images."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """The record of a backend's compiler, which that backend checks when it reads it."""
    engine_run: bool | None = None
    """Whether the compiled file ran where it was built; None where nothing is compiled."""
    tolerance: Tolerance
    reference: Reference
    layout: int = LAYOUT

    @property
    def takes_pixels(self) -> bool:
        """Whether the file preprocesses by itself: its input is pixels, uint8 (B, H, W, C)."""
        return self.settings.preprocess == "graph"

    @property
    def head(self) -> OutputFormat:
        """What the file returns: logits, their softmax, or the top five classes."""
        return self.settings.head

    @property
    def interface(self) -> str:
        """Input and output of the file in one line, which a program compares with its own.

        It ends with the shape of the model's answer, so that another number of classes is noticed.
        """
        takes = "levels" if self.takes_pixels else "normalized"
        shape = "x".join(map(str, self.signature.answer_shape))
        return f"{INTERFACE} {takes} {self.head} {shape}"

    def require_spec(self) -> VitSpec:
        """The spec of a known Vision Transformer.

        Raises:
            RequestError: the model has no spec.
        """
        if self.spec is None:
            message = f"{self.model} is no Vision Transformer that vit-export knows."
            raise RequestError(message, "name a file of a known family.")
        return self.spec

    def check_plain(self, path: Path) -> None:
        """Raise RequestError unless the file at `path` has the input and output of its model."""
        if self.takes_pixels or self.head != "logits":
            message = f"{path} preprocesses by itself, or does not answer logits."
            raise RequestError(message, "export another file with --preprocess none --head logits.")

    def to_json(self) -> str:
        """One line of JSON; equal manifests give equal text."""
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
            RequestError: the text is no manifest, its layout is newer, or a field is missing,
                unknown, or of another type or range; the message names the field.
        """
        try:
            return cls._from_values(json.loads(text), where)
        except (ValueError, OverflowError, RecursionError) as error:
            message = f"{where}: its manifest can't be read ({type(error).__name__}: {error})."
            raise RequestError(message, "export the model again.") from None

    @classmethod
    def _from_values(cls, values: object, where: str) -> Self:
        if not isinstance(values, dict):
            raise RequestError(f"{where}: its manifest is no object.", "export the model again.")
        values = upgrade(values, where)
        known = {KEYS.get(one.name, one.name) for one in fields(cls)}
        for name in values:
            if name not in known:
                raise RequestError(f"{where}: unknown key {name!r}.", did_you_mean(name, known))
        manifest = cls(**_read_fields(values, f"{where}: "))
        check_consistent(manifest, where)
        return manifest


def _read_fields(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Every field of a manifest, checked."""
    types = {
        "target": str,
        "model": str,
        "preset": str,
        "precision": str,
        "weights_sha256": str,
        "weights_from": str,
        "overrides": Mapping[str, Any],
        "labels": tuple[str, ...],
        "versions": Mapping[str, str],
        "layers": Mapping[str, str],
        "layout": int,
        "problem_type": ProblemType,
        "assumed": Mapping[str, Any],
        "reading": str,
    }
    optional: dict[str, Any] = {"overrides": {}, "layers": {}, "preset": "", "reading": ""}
    optional |= {"problem_type": "single_label", "assumed": {}}
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

    def part(name: str) -> Any:
        value = values.get(name)
        return read_value(Mapping[str, Any], {} if value is None else value, f"{where}{name}")

    spec, steps = part("spec"), part("preprocessing")
    graph, fp16_range, calibration = part("graph"), part("reach"), part("calibration")
    return {
        "signature": read_record(Signature, values.get("signature"), f"{where}signature"),
        "spec": VitSpec.from_mapping(spec, f"{where}spec") if spec else None,
        "batch": Batch.from_json(values.get("batch"), where),
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
