"""The records in a manifest that say how a file was built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, cast

from vit_export.artifact.outputs import OutputFormat
from vit_export.core.errors import RequestError
from vit_export.core.from_json import read_value

Scalar = bool | int | str
Preprocess = Literal["none", "graph"]
NODES_CAPTURED, NODES_SIMPLIFIED = "nodes captured", "nodes after onnxsim"


@dataclass(frozen=True)
class BuildSettings:
    """The options that a file was built with, as its backend recorded them."""

    values: Mapping[str, Scalar] = field(default_factory=dict)
    """Options by name: those with a property here, and further ones of the backend."""

    @property
    def opset(self) -> int | None:
        """The ONNX operator set; None for a file that is no graph."""
        return cast("int | None", self.values.get("opset"))

    @property
    def flavour(self) -> str | None:
        """The runtime that a graph is made for (`--for`); None for a file that is no graph."""
        return cast("str | None", self.values.get("flavour"))

    @property
    def preprocess(self) -> Preprocess:
        """`graph` if the file preprocesses by itself, else `none`."""
        return cast("Preprocess", self.values.get("preprocess", "none"))

    @property
    def head(self) -> OutputFormat:
        """What the file returns (`--head`)."""
        return cast("OutputFormat", self.values.get("head", "logits"))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """The settings of a flat JSON object.

        Raises:
            RequestError: an option is of the wrong type; the message names it.
        """
        types = {"opset": int, "flavour": str, "preprocess": Preprocess, "head": OutputFormat}
        return cls(
            {
                name: read_value(types.get(name, Scalar), value, f"{where}.{name}")
                for name, value in values.items()
            }
        )


@dataclass(frozen=True, kw_only=True)
class GraphInfo:
    """How an ONNX graph was made."""

    nodes_captured: int
    nodes_simplified: int | None
    """After onnxsim; None where it did not run."""
    changes: Mapping[str, int]
    """Number of changes by pass."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """The record of a flat JSON object of counts.

        Raises:
            RequestError: a count is not a whole number of at least 0.
        """
        counts = {name: _read_count(value, f"{where}.{name}") for name, value in values.items()}
        return cls(
            nodes_captured=counts.pop(NODES_CAPTURED, 0),
            nodes_simplified=counts.pop(NODES_SIMPLIFIED, None),
            changes=counts,
        )

    def to_mapping(self) -> dict[str, int]:
        """A flat JSON object of counts, nodes first."""
        nodes = {NODES_CAPTURED: self.nodes_captured}
        if self.nodes_simplified is not None:
            nodes[NODES_SIMPLIFIED] = self.nodes_simplified
        return nodes | dict(self.changes)


@dataclass(frozen=True, kw_only=True)
class Fp16Range:
    """How large the numbers of an fp16 graph get on the proof's samples."""

    largest: float
    """The largest |value| of any tensor in fp16."""
    limit: float
    """The maximum of fp16."""
    worst: str
    """Name of the tensor that has the largest |value|."""
    kept: int
    """Number of nodes that stay in fp32 because their numbers are too large."""


@dataclass(frozen=True, kw_only=True)
class CalibrationInfo:
    """The user's images that scales were computed on."""

    images: int
    """Number of readable images."""
    sha256: str
    """SHA-256 over the images, their preprocessing and the proof's samples."""


def _read_count(value: object, where: str) -> int:
    count = int(read_value(int, value, where))
    if count < 0:
        raise RequestError(f"{where} is {count}, not a count.", "export the model again.")
    return count
