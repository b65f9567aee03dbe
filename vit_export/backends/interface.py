"""Options for what stands before and behind the model in a file; several backends have them."""

from collections.abc import Mapping
from typing import Any, get_args

from vit_export.artifact.outputs import OutputFormat
from vit_export.backends.option import Option
from vit_export.core.errors import RequestError
from vit_export.data.pillow_resize import check_resizable
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.signature import Signature

INTERFACE = (
    Option(
        name="preprocess",
        default="none",
        choices=("none", "graph"),
        help="graph: the file takes 8-bit images of any size and resizes them as Pillow does.",
    ),
    Option(
        name="head",
        default="logits",
        choices=get_args(OutputFormat),
        help="What the file answers: logits, probabilities, or the five best classes with theirs.",
    ),
)


def check_interface(
    options: Mapping[str, Any],
    signature: Signature,
    preprocessing: Preprocessing | None,
    *,
    io_fp16: bool,
) -> None:
    """Raise RequestError unless a file of this model can have what `options` put around it."""
    pixels, head = options.get("preprocess") == "graph", options.get("head", "logits")
    if pixels:
        check_resizable(preprocessing)
    if head != "logits" and not signature.classifies:
        message = f"The model has no classes for --head {head}: it answers {signature.answer}."
        raise RequestError(message, "leave --head out.")
    if io_fp16 and (pixels or head != "logits"):
        message = "--io-fp16 means nothing where pixels go in or probabilities come out."
        raise RequestError(message, "leave it out: products are in fp16 all the same.")
