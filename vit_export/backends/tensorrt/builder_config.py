"""How an engine is built, as its options say, and which of them mean nothing to which engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vit_export.backends.tensorrt.compute_capability import capabilities_of
from vit_export.core.errors import RequestError
from vit_export.core.staging import check_writable

USUAL_LEVEL = 3
"""The builder's own (IBuilderConfig.builder_optimization_level)."""
HARDWARE = ("none", "ampere-plus", "same-capability")
"""HardwareCompatibilityLevel of TensorRT, in our writing."""

RTX = "TensorRT for RTX"
NO_GRAPH = "torch-tensorrt takes no ONNX graph"
FLAGS = {"flavour": "for", "simplify": "no-simplify"}
"""Of options that are not called as their flags are."""
REFUSED: Mapping[str, Mapping[str, str]] = {
    "tensorrt": {
        "gpu": "TensorRT builds for the GPU that it runs on; --hardware says for which others",
    },
    "rtx": {
        "level": f"{RTX} optimizes in one way",
        "timing_cache": f"{RTX} times nothing while it builds",
        "hardware": f"engines of {RTX} are for every GPU from Ampere on, or those of --gpu",
        "version_compatible": f"engines of {RTX} load in the release that built them, and no other",
    },
    "torch": {
        "gpu": "torch-tensorrt builds for the GPU that it runs on",
        "refit": "torch-tensorrt refits a module in memory, with its own functions",
        "strip_weights": "a program of torch-tensorrt holds its weights",
        "timing_cache": "torch-tensorrt keeps a timing cache of its own",
        "save_onnx": NO_GRAPH,
        "opset": NO_GRAPH,
        "flavour": NO_GRAPH,
        "simplify": NO_GRAPH,
    },
}
"""By engine and option: why it is refused."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the builder is told besides the graph and its profiles."""

    workspace_mb: int = 0
    """0: all there is."""
    level: int = USUAL_LEVEL
    timing_cache: Path | None = None
    hardware: str = "none"
    version_compatible: bool = False
    capabilities: tuple[str, ...] = ()
    """What is compiled for; empty: the library's default."""
    strip_weights: bool = False
    refit: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From the options of the target."""
        cache = str(given["timing_cache"])
        return cls(
            workspace_mb=int(given["workspace"]),
            level=int(given["level"]),
            timing_cache=Path(cache) if cache else None,
            hardware=str(given["hardware"]),
            version_compatible=bool(given["version_compatible"]),
            capabilities=capabilities_of(str(given["gpu"])),
            strip_weights=bool(given["strip_weights"]),
            refit=bool(given["refit"]),
        )


def check_settings(kind: str, given: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Nothing, when every option that was `given` means something to an engine of `kind`.

    Raises:
        RequestError: one does not, or they contradict each other.
        BuildError: the timing cache can't be written.
    """
    for option, reason in REFUSED[kind].items():
        if given[option] != usual[option]:
            flag = FLAGS.get(option, option.replace("_", "-"))
            message = f"--{flag} means nothing with --engine {kind}: {reason}."
            raise RequestError(message, "leave it out.")
    if given["strip_weights"] and not given["save_onnx"]:
        message = "An engine without weights gets them from its graph when it is opened."
        raise RequestError(message, "keep the graph beside it: --save-onnx.")
    if given["timing_cache"]:
        check_writable(Path(str(given["timing_cache"])))
