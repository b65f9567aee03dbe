"""The record of an engine in a manifest (`Manifest.engine`), which is checked when it is read."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, Self, get_type_hints

from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.from_json import read_value

Kind = Literal["tensorrt", "rtx", "torch"]
"""The library that builds and opens an engine; `variants.VARIANTS` has them by this name."""
KEYS = {
    "network_matmuls": "precisions",
    "tensors": "inputs and outputs",
    "engine_matmuls": "engine_precisions",
}
"""The JSON keys of those fields that have another name there."""
COUNTS = ("layers", "size_bytes")
AGAIN = "export the model again."


@dataclass(frozen=True, kw_only=True)
class EngineGpu:
    """The GPU that an engine was built on."""

    name: str
    capability: str
    """Compute capability as NVIDIA writes it: 8.9."""


@dataclass(frozen=True, kw_only=True)
class EngineTensor:
    """An input or an output of a network."""

    name: str
    mode: Literal["input", "output"]
    dtype: str
    shape: tuple[int, ...]
    """-1 for a length that an optimization profile gives."""


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """How an engine was built, and what it became.

    The fields that default to None are filled in while it is built; some stay None for
    torch-tensorrt.
    """

    kind: Kind
    version: str
    """Version of the library that built it."""
    gpu: EngineGpu | None = None
    """None where it was built without one, or not for one alone."""
    capabilities: tuple[str, ...] = ()
    """Compute capabilities that it is compiled for; empty for the library's default."""
    hardware: str = "none"
    """Value of --hardware."""
    version_compatible: bool = False
    """Whether later versions of the same major number load it."""
    strip_weights: bool = False
    """Whether its weights come from the graph beside it."""
    refit: bool = False
    """Whether other weights can be put into it."""
    profiles: tuple[str, ...] = ()
    """Its optimization profiles as batches, MIN:OPT:MAX."""
    passed_over: tuple[str, ...] = ()
    """Libraries that `--engine auto` preferred and that did not work, each with the reason."""
    layers: int | None = None
    """Layers of the parsed network."""
    network_matmuls: Mapping[str, int] | None = None
    """Number of matmuls and convolutions of the parsed network, by arithmetic."""
    tensors: tuple[EngineTensor, ...] | None = None
    """Inputs and outputs of the parsed network."""
    graph_sha256: str | None = None
    """SHA-256 of the ONNX graph that it was built from."""
    validity: str | None = None
    """What TensorRT's validity check says of the engine; empty where there is no such check."""
    sha256: str | None = None
    """SHA-256 of the engine's file."""
    size_bytes: int | None = None
    """Size of the engine's file."""
    engine_matmuls: Mapping[str, int] | None = None
    """Number of the engine's matmuls by arithmetic, from its inspector on the GPU."""

    def __post_init__(self) -> None:
        """Raise RequestError unless every count is at least 0."""
        for name in COUNTS:
            count = getattr(self, name)
            if count is not None and count < 0:
                raise RequestError(f"{name} is {count}, not a count.", AGAIN)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """Return the record that `to_mapping` wrote; `where` names the file in errors.

        Raises:
            RequestError: a field is missing, unknown, or has a wrong type; the message names it.
        """
        types = get_type_hints(cls)
        keys = {KEYS.get(field.name, field.name): field for field in fields(cls)}
        for key in values:
            if key not in keys:
                raise RequestError(f"{where}: engine.{key} is unknown.", did_you_mean(key, keys))
        for key, field in keys.items():
            if field.default is MISSING and key not in values:
                raise RequestError(f"{where}: engine.{key} is missing.", AGAIN)
        values_by_field = {
            keys[key].name: read_value(types[keys[key].name], value, f"{where}: engine.{key}")
            for key, value in values.items()
        }
        try:
            return cls(**values_by_field)
        except RequestError as error:
            raise RequestError(f"{where}: engine.{error.message}", error.fix) from None

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values for JSON, without those that are not known."""
        optional = {field.name for field in fields(self) if field.default is None} - {"gpu"}
        return {
            KEYS.get(name, name): value
            for name, value in asdict(self).items()
            if value is not None or name not in optional
        }
