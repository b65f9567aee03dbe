"""What stands before and behind the model in a file: options that targets share."""

from collections.abc import Mapping
from typing import Any, get_args

from vit_export.artifact.outputs import OutputFormat
from vit_export.backends.option import Option
from vit_export.core.errors import RequestError
from vit_export.data.pillow_resize import check_resizable
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.vit.spec import VitSpec

INTERFACE = (
    Option(
        name="preprocess",
        default="none",
        choices=("none", "graph"),
        help="graph: the file takes 8-bit images of any size, and resizes as Pillow does.",
    ),
    Option(
        name="head",
        default="logits",
        choices=get_args(OutputFormat),
        help="Probabilities in place of logits, or the five best classes with theirs.",
    ),
)


def check_interface(
    settings: Mapping[str, Any], spec: VitSpec, steps: Preprocessing | None, *, io_fp16: bool
) -> None:
    """Nothing, when a file of this model can have what is asked before and behind it.

    Raises:
        RequestError: with the reason.
    """
    levels, head = settings.get("preprocess") == "graph", settings.get("head", "logits")
    if levels:
        check_resizable(steps)
    if head != "logits" and not spec.classifies:
        message = f"The model has no classes for --head {head}: it answers {spec.answer}."
        raise RequestError(message, "leave --head out.")
    if io_fp16 and (levels or head != "logits"):
        message = "--io-fp16 means nothing where levels go in or probabilities come out."
        raise RequestError(message, "leave it out: products are in fp16 all the same.")
