"""What an artifact says about itself: its origin, its interface, and the eager model's answers.

The manifest is JSON inside the file, so that a device with neither torch nor the weights can read
the preprocessing and the labels, and can repeat the proof. It holds neither times nor paths: the
same request gives the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from vit_export.artifact.batch import Batch
from vit_export.artifact.consistency import check_consistent
from vit_export.artifact.layouts import LAYOUT, upgrade
from vit_export.artifact.manifest_fields import read_fields
from vit_export.artifact.outputs import OutputFormat, OutputHead
from vit_export.artifact.records import BuildSettings, CalibrationInfo, Fp16Range, GraphInfo
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.fusions import ExpectedFusions
from vit_export.model.score_function import (
    ScoreFunction,
    choose_score_function,
    count_exclusive_classes,
)
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
    fusions: ExpectedFusions | None = None
    """What the graph of a module of no known family should have fused; None for other files."""
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
        """What the file returns: logits, probabilities, or the top five classes."""
        return self.settings.head

    @property
    def output_head(self) -> OutputHead:
        """What stands behind the model in the file."""
        multi_label = self.problem_type == "multi_label"
        return OutputHead(self.head, "sigmoid" if multi_label else "softmax")

    @property
    def score_function(self) -> ScoreFunction:
        """What the scores are that a reader gets: those in the file, or those of its logits."""
        if self.head != "logits":
            return self.output_head.function
        return choose_score_function(self.problem_type, self.signature.classes or 0)

    @property
    def exclusive_classes(self) -> int | None:
        """Number of classes of which each image has exactly one; None for other models."""
        return count_exclusive_classes(self.signature, self.problem_type)

    @property
    def interface(self) -> str:
        """Input and output of the file in one line, which a program compares with its own.

        It has the shape of the model's answer, so that another number of classes is noticed; for
        several outputs, their number and a hash of their names and shapes. It ends with the problem
        type, unless that is `single_label`.
        """
        takes = "levels" if self.takes_pixels else "normalized"
        shape = "x".join(map(str, self.signature.answer_shape))
        if self.signature.is_joined:
            outputs = [(one.name, one.sample_shape) for one in self.signature.outputs]
            shape = f"{len(outputs)} outputs {sha256(repr(outputs).encode()).hexdigest()[:12]}"
        problem = "" if self.problem_type == "single_label" else f" {self.problem_type}"
        return f"{INTERFACE} {takes} {self.head} {shape}{problem}"

    @property
    def expected_fusions(self) -> ExpectedFusions | None:
        """What the graph of the file should have fused; None where nothing is known of that."""
        return self.spec.expected_fusions if self.spec else self.fusions

    def require_spec(self) -> VitSpec:
        """The spec of a known Vision Transformer.

        Raises:
            RequestError: the model has no spec.
        """
        if self.spec is None:
            message = f"{self.model} is no Vision Transformer that vit-export knows."
            fix = "name a file of a known family; validate --module compares this one."
            raise RequestError(message, fix)
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
        if self.fusions is None:
            del values["fusions"]
        else:
            values["fusions"] = asdict(self.fusions)
        plain = values | {
            "signature": asdict(self.signature),
            "spec": self.spec.to_mapping() if self.spec else None,
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
        manifest = cls(**read_fields(values, f"{where}: "))
        check_consistent(manifest, where)
        return manifest
