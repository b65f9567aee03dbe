"""The options of an engine: what they are called, and which engine each is of."""

from vit_export.backends.onnx.graph import OPSET, SIMPLIFY, flavour_option
from vit_export.backends.option import Option
from vit_export.backends.tensorrt.builder_config import HARDWARE, USUAL_LEVEL
from vit_export.backends.tensorrt.variants import KINDS

OPTIONS = (
    Option(
        name="engine",
        default="auto",
        choices=("auto", *KINDS),
        help="TensorRT or torch-tensorrt (on a GPU), or TensorRT for RTX (with or without); auto "
        "takes the first of tensorrt, rtx, torch that works here.",
    ),
    OPSET,
    flavour_option("tensorrt"),
    SIMPLIFY,
    Option(
        name="workspace",
        default=0,
        minimum=0,
        maximum=10**6,
        help="Limit of scratch memory in MB; 0: all there is.",
    ),
    Option(
        name="level", default=USUAL_LEVEL, minimum=0, maximum=5, help="How long tensorrt optimizes."
    ),
    Option(
        name="timing_cache",
        flag="timing-cache",
        default="",
        metavar="FILE",
        help="Of tensorrt: what it timed, read and written.",
        recorded=False,
    ),
    Option(
        name="hardware",
        default="none",
        choices=HARDWARE,
        help="Of tensorrt: other GPUs that the engine has to run on.",
    ),
    Option(
        name="version_compatible",
        flag="version-compatible",
        default=False,
        help="Of tensorrt: later versions of the same major number load the engine too.",
    ),
    Option(
        name="gpu",
        default="",
        metavar="NAME,NAME",
        help="Of rtx: turing, ampere, ada, blackwell or capabilities (8.6) to build for.",
    ),
    Option(name="refit", default=False, help="Other weights can be put into the engine."),
    Option(
        name="strip_weights",
        flag="strip-weights",
        default=False,
        help="The engine gets its weights from the graph beside it when it is opened.",
    ),
    Option(
        name="save_onnx",
        flag="save-onnx",
        default=False,
        help="Keep the graph that went in, as OUT.onnx.",
        recorded=False,
    ),
    Option(
        name="require_run",
        flag="require-run",
        default=False,
        help="An engine that can't run here is a failure (exit code 3).",
        recorded=False,
    ),
)
