"""What an artifact says about itself: where it comes from and what it has to answer.

The manifest is JSON inside the file, so that a device with neither torch nor the weights can read
the preprocessing and the labels, and can repeat the proof. It holds no time and no path: the same
request gives the same bytes.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from vit_export.artifact.batch import Batch
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.vit.spec import VitSpec

KEY = "vit_export"
"""The name of the manifest inside a file."""
LAYOUT = 1
"""Rises when a field changes its meaning."""
INTERFACE_KEY = f"{KEY}_interface"
"""The name of `Manifest.interface` inside a file, for programs that read no JSON."""
INTERFACE = 2
"""Rises when what goes in or comes out changes its meaning."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The eager model's answers, and how exact they are. M samples."""

    recipes: tuple[str, ...]
    """How each sample is made (`samples.make_samples`)."""
    digests: tuple[str, ...]
    """SHA-256 of each sample, to tell whether it was made again exactly."""
    answers: Array
    """(M, *spec.answer_shape)"""
    floors: tuple[float, ...]
    """Largest |fp32 - fp64| of each answer."""

    def only(self, kept: Sequence[int]) -> Self:
        """The part about the samples at these positions."""
        return replace(
            self,
            recipes=tuple(self.recipes[i] for i in kept),
            digests=tuple(self.digests[i] for i in kept),
            answers=self.answers[list(kept)],
            floors=tuple(self.floors[i] for i in kept),
        )

    def made_anywhere(self) -> Self:
        """The part whose samples need no file of the user's."""
        return self.only([i for i, one in enumerate(self.recipes) if not one.startswith("image:")])

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; the answers as base64 of little-endian fp32, bit for bit."""
        raw = base64.b64encode(self.answers.astype("<f4").tobytes()).decode("ascii")
        return asdict(self) | {"answers": raw, "shape": self.answers.shape}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """The reference that `to_mapping` wrote."""
        answers = np.frombuffer(base64.b64decode(values["answers"]), "<f4")
        return cls(
            recipes=tuple(values["recipes"]),
            digests=tuple(values["digests"]),
            answers=answers.reshape(values["shape"]).astype(np.float32),
            floors=tuple(values["floors"]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """Everything that belongs to one artifact."""

    target: str
    model: str
    spec: VitSpec
    overrides: Mapping[str, Any]
    """What the request changed of the model's own values."""
    precision: str
    batch: Batch
    weights_sha256: str
    weights_from: str
    """In words: shipped, random from a seed, or the name of a file."""
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]
    versions: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The target's own options, opset for example."""
    graph: Mapping[str, int] = field(default_factory=dict)
    """How an ONNX graph came about: nodes after each stage, and what each pass changed."""
    layers: Mapping[str, str] = field(default_factory=dict)
    """How each quantized layer is quantized."""
    reach: Mapping[str, Any] = field(default_factory=dict)
    """Of fp16: the tensor nearest to its limit, how large it gets, how many nodes stay in fp32."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """Of the images that scales come from: how many, and a SHA-256 over them."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Of what a compiler made of the graph: which, its version, for which GPUs, its profiles."""
    engine_run: bool | None = None
    """Whether that was run and proven where it was built; None where there is no engine."""
    tolerance: Mapping[str, Any]
    reference: Reference
    layout: int = LAYOUT

    @property
    def takes_levels(self) -> bool:
        """Whether the file preprocesses by itself: levels (B, H, W, C) in uint8 go in."""
        return self.settings.get("preprocess") == "graph"

    @property
    def head(self) -> str:
        """What stands behind the model (`outputs.OutputFormat`)."""
        return str(self.settings.get("head", "logits"))

    @property
    def interface(self) -> str:
        """What goes into the file and comes out, in one line that a program can compare.

        At its end the shape of the model's answer: that of 1000 classes has other numbers.
        """
        takes = "levels" if self.takes_levels else "normalized"
        shape = "x".join(map(str, self.spec.answer_shape))
        return f"{INTERFACE} {takes} {self.head} {shape}"

    def check_plain(self, path: Path) -> None:
        """Nothing, when the file at `path` takes what the model takes, and answers logits.

        Raises:
            RequestError: something stands before or behind the model.
        """
        if self.takes_levels or self.head != "logits":
            message = f"{path} is more than the model: it preprocesses, or answers no logits."
            raise RequestError(message, "export it with --preprocess none --head logits, too.")

    def to_json(self) -> str:
        """One line of JSON, the same for the same manifest."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if not self.engine:
            del values["engine"], values["engine_run"]
        plain = values | {
            "spec": asdict(self.spec),
            "batch": str(self.batch),
            "preprocessing": self.preprocessing.to_mapping() if self.preprocessing else None,
            "reference": self.reference.to_mapping(),
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """The manifest that `to_json` wrote; `where` names its file in errors.

        Raises:
            RequestError: not a manifest, or one of a newer layout.
        """
        try:
            values = json.loads(text)
            if values["layout"] > LAYOUT:
                message = f"{where} was written by a newer vit-export (layout {values['layout']})."
                raise RequestError(message, "upgrade vit-export.")
            steps = values["preprocessing"]
            values |= {
                "spec": VitSpec.from_mapping(values["spec"], where),
                "batch": Batch.parse(values["batch"]),
                "labels": tuple(values["labels"]),
                "preprocessing": Preprocessing.from_mapping(steps, where) if steps else None,
                "reference": Reference.from_mapping(values["reference"]),
            }
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            message = f"{where}: its manifest can't be read ({type(error).__name__}: {error})."
            raise RequestError(message, "export the model again.") from None
