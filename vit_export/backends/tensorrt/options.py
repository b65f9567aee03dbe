"""The options of an engine, and the check that the variant supports them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_export.backends.onnx.graph import OPSET, SIMPLIFY, flavour_option
from vit_export.backends.option import Option
from vit_export.backends.tensorrt.builder_config import DEFAULT_LEVEL, HARDWARE
from vit_export.backends.tensorrt.compute_capability import parse_capabilities
from vit_export.backends.tensorrt.cuda import Gpu
from vit_export.backends.tensorrt.variant import NO_GPU, Variant
from vit_export.backends.tensorrt.variants import VARIANTS
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.output_path import check_writable

OPTIONS = (
    Option(
        name="engine",
        default="auto",
        choices=("auto", *VARIANTS),
        help="The library that builds the engine: TensorRT or torch-tensorrt (both need a GPU), or "
        "TensorRT for RTX (needs none); auto takes the first of tensorrt, rtx, torch that works "
        "here.",
    ),
    OPSET,
    flavour_option("tensorrt"),
    SIMPLIFY,
    Option(
        name="workspace",
        default=0,
        minimum=0,
        maximum=10**6,
        help="Limit of scratch memory in MB; 0 for no limit.",
    ),
    Option(
        name="level",
        default=DEFAULT_LEVEL,
        minimum=0,
        maximum=5,
        help="Optimization level of tensorrt: higher builds longer, for a faster engine.",
    ),
    Option(
        name="timing_cache",
        flag="timing-cache",
        default="",
        metavar="FILE",
        help="A file of kernel timings that tensorrt reads and writes.",
        recorded=False,
    ),
    Option(
        name="hardware",
        default="none",
        choices=tuple(HARDWARE),
        help="The GPUs on which an engine of tensorrt runs besides the one it is built on.",
    ),
    Option(
        name="version_compatible",
        flag="version-compatible",
        default=False,
        help="Let later versions of tensorrt with the same major version load the engine too.",
    ),
    Option(
        name="gpu",
        default="",
        metavar="NAME,NAME",
        help="GPUs that rtx builds for: turing, ampere, ada, blackwell, or compute capabilities "
        "such as 8.6.",
    ),
    Option(name="refit", default=False, help="Let the engine be refitted with other weights."),
    Option(
        name="strip_weights",
        flag="strip-weights",
        default=False,
        help="Leave the weights out; the engine reads them from the graph beside it when opened.",
    ),
    Option(
        name="save_onnx",
        flag="save-onnx",
        default=False,
        help="Keep the graph that the engine is built from, as OUT.onnx.",
        recorded=False,
    ),
    Option(
        name="require_run",
        flag="require-run",
        default=False,
        help="Fail with exit code 3 if the engine can't run here.",
        recorded=False,
    ),
)
DEFAULTS: Mapping[str, Any] = {option.name: option.default for option in OPTIONS}
NEGATED = {"simplify": "no-simplify"}
"""The flags that turn off options which are on by default."""


def check_options(variant: Variant, options: Mapping[str, Any]) -> None:
    """Raise RequestError unless `variant` supports every option that is not at its default.

    Raises:
        RequestError: one does not, or they contradict each other.
        BuildError: the timing cache cannot be written.
    """
    flags = {option.name: option.flag_name for option in OPTIONS} | NEGATED
    for name, reason in variant.refused_options.items():
        if options[name] != DEFAULTS[name]:
            message = f"--{flags[name]} means nothing with --engine {variant.name}: {reason}."
            raise RequestError(message, "leave it out.")
    if options["strip_weights"] and not options["save_onnx"]:
        message = "An engine without weights reads them from its graph when it is opened."
        raise RequestError(message, "keep the graph beside it: --save-onnx.")
    if options["timing_cache"]:
        check_writable(Path(str(options["timing_cache"])))


def check_machine(variant: Variant, options: Mapping[str, Any], gpu: Gpu | None) -> None:
    """Raise MissingError unless what the options need a GPU for works with the one that is here."""
    capabilities = parse_capabilities(str(options["gpu"]))
    if gpu is None and options["require_run"]:
        fix = "leave --require-run out: the graph is proven on the CPU, and the engine is built."
        raise MissingError(f"The engine has to be run, and there is {NO_GPU}.", fix)
    if gpu and options["require_run"] and capabilities and gpu.capability not in capabilities:
        message = f"The engine has to be run, and here is a {gpu.name} of {gpu.capability}."
        fix = "leave --gpu out, or --require-run: then the engine is built, and not run."
        raise MissingError(message, fix)
    if gpu is None and (options["refit"] or options["strip_weights"]):
        message = f"{variant.title} needs a GPU for --refit and --strip-weights."
        raise MissingError(message, "build where the GPU is, or leave them out.")
