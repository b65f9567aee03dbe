"""The options for preprocessing before the model and the output format behind it, in one file."""

from collections.abc import Mapping
from typing import Any, get_args

from vit_export.artifact.outputs import OutputFormat
from vit_export.backends.option import Option
from vit_export.core.errors import RequestError
from vit_export.data.pillow_resize import check_resizable
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.score_function import choose_score_function
from vit_export.model.signature import ProblemType, Signature

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
        help="What the file answers: logits, probabilities, or the five best classes and scores. "
        "sigmoid gives each class a probability of its own.",
    ),
)


def check_interface(
    options: Mapping[str, Any],
    signature: Signature,
    preprocessing: Preprocessing | None,
    problem_type: ProblemType,
    *,
    io_fp16: bool,
) -> None:
    """Raise RequestError unless the preprocessing and output format in `options` suit the model."""
    pixels, head = options.get("preprocess") == "graph", options.get("head", "logits")
    if pixels and not signature.takes_images:
        shape = "x".join(map(str, signature.sample_shape))
        message = f"The model takes no images: its input is {shape}."
        raise RequestError(message, "leave --preprocess out.")
    if pixels and check_resizable(preprocessing).interpolation == "lanczos":
        _check_lanczos(options)
    _check_head(head, signature, problem_type)
    if io_fp16 and (pixels or head != "logits"):
        message = (
            "--io-fp16 means nothing with --preprocess graph, or with another --head than logits."
        )
        raise RequestError(message, "leave it out: matmuls are in fp16 all the same.")


def _check_head(head: OutputFormat, signature: Signature, problem_type: ProblemType) -> None:
    """Raise RequestError unless `head` turns the model's logits into scores that mean something."""
    if head == "logits":
        return
    if signature.is_joined:
        message = f"--head {head} is for logits alone, and the file answers {signature.answer}."
        raise RequestError(message, "leave --head out, or take --outputs logits.")
    if not signature.classifies:
        message = f"The model has no classes for --head {head}: it answers {signature.answer}."
        is_vector = signature.answer == "tensor" and len(signature.answer_shape) == 1
        also = ", or give --problem-type if its numbers are logits" * is_vector
        raise RequestError(message, f"leave --head out{also}.")
    classes = signature.classes or 0
    function = choose_score_function(problem_type, classes)
    if function == "none":
        message = f"The model's problem type is regression: its numbers need no --head {head}."
        raise RequestError(message, "leave --head out.")
    if head == "softmax" and function == "sigmoid":
        reason = "each class has a probability of its own" if classes > 1 else "it has one class"
        message = f"A softmax of the model's logits means nothing: {reason}."
        raise RequestError(message, "take --head sigmoid.")
    if head == "top5" and classes == 1:
        message = "The model has one class, and --head top5 ranks several."
        raise RequestError(message, "take --head sigmoid.")


def _check_lanczos(options: Mapping[str, Any]) -> None:
    """Raise RequestError unless the runtime has the 64-bit floats of Lanczos weights."""
    if options.get("flavour") == "openvino":
        message = "OpenVINO has no 64-bit floats, in which Pillow computes Lanczos weights."
        raise RequestError(message, "take --interpolation bicubic, or --preprocess none.")
