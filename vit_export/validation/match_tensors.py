"""Which tensors of another tool's file are those of the model: by name, then by shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vit_export.artifact.batch import Batch
from vit_export.backends.records import FileInterface, FileTensor
from vit_export.core.errors import RequestError
from vit_export.model.signature import IMAGE_AXES, Signature, TensorSpec

LIBRARY_NAMES = {"last_hidden_state": "tokens", "image_embeds": "features", "logits": "logits"}
"""Outputs as transformers names them, to ours. Its `pooler_output` is one thing in one model and
another in the next."""
FLOATS = ("float32", "float16")
CHANNELS = (1, 3, 4)
"""Numbers of channels of an image."""
NAME_THEM = "give --output-names, the file's outputs in the order of the model's."


@dataclass(frozen=True)
class MatchedTensors:
    """The tensors of a file that a proof compares."""

    signature: Signature
    """That of the model, with the names that the file has."""
    batch: Batch
    unmatched: tuple[str, ...]
    """Outputs of the file that the model has not, or that nobody named."""


def choose_outputs(interface: FileInterface) -> tuple[str, ...] | None:
    """Return what a known model has to answer, from the names of a file's outputs.

    None stands for the model's own answer: the names say nothing.
    """
    names = [one.name for one in interface.outputs]
    known = tuple(LIBRARY_NAMES[name] for name in names if name in LIBRARY_NAMES)
    return known if known and known != ("logits",) else None


def read_sample_shape(path: str, interface: FileInterface) -> tuple[int | None, ...]:
    """Return the shape of one sample that a file takes; None stands for a free side.

    Raises:
        RequestError: it has several inputs, or an input that is no normalized image or sample.
    """
    if len(interface.inputs) != 1:
        listing = ", ".join(map(str, interface.inputs)) or "none"
        message = f"{path} has {len(interface.inputs)} inputs: {listing}."
        raise RequestError(message, "judge a file of images alone, with the others inside it.")
    (tensor,) = interface.inputs
    if tensor.dtype not in FLOATS or _ends_with_channels(tensor.shape[1:]):
        message = f"{path} takes {tensor}, so its preprocessing is inside."
        raise RequestError(message, "judge the file from before that was added.")
    return tensor.shape[1:]


def _ends_with_channels(shape: tuple[int | None, ...]) -> bool:
    """Whether a shape is (H, W, C), in which decoders write images."""
    is_image = len(shape) == IMAGE_AXES and shape[-1] in CHANNELS
    return is_image and shape[0] not in CHANNELS


def match_tensors(
    path: str, interface: FileInterface, signature: Signature, names: Sequence[str] = ()
) -> MatchedTensors:
    """Return the tensors of a file that are those of a model.

    Args:
        path: the file, for errors.
        interface: its inputs and outputs.
        signature: the model's.
        names: outputs of the file, in the order of the model's; empty finds them.

    Raises:
        RequestError: an input or output of the model is not there, or several could be it.
    """
    (tensor,) = interface.inputs
    if not _fits(tensor, signature.inputs[0]):
        sides = "x".join(map(str, signature.sample_shape))
        message = f"{path} takes {tensor}, and the model takes {sides}."
        raise RequestError(message, "give --image-size HxW or --input CxHxW as the file takes it.")
    chosen = (
        _take_named(path, interface, names) if names else _find_outputs(path, interface, signature)
    )
    if len(chosen) != len(signature.outputs):
        message = f"--output-names has {len(chosen)} names, and the model answers "
        raise RequestError(f"{message}{signature.answer}.", "name one output for each.")
    for output, one in zip(signature.outputs, chosen, strict=True):
        if not _fits(one, output):
            message = f"{path} answers {one}, and the model's {output.name} is {output.shape}."
            raise RequestError(message, NAME_THEM)
    outputs = tuple(
        replace(output, name=one.name)
        for output, one in zip(signature.outputs, chosen, strict=True)
    )
    unmatched = tuple(one.name for one in interface.outputs if one not in chosen)
    inputs = (replace(signature.inputs[0], name=tensor.name),)
    return MatchedTensors(
        Signature(inputs=inputs, outputs=outputs), read_batch(interface), unmatched
    )


def _take_named(path: str, interface: FileInterface, names: Sequence[str]) -> list[FileTensor]:
    outputs = {one.name: one for one in interface.outputs}
    missing = [name for name in names if name not in outputs]
    if missing:
        message = f"{path} has no output {missing[0]!r}."
        raise RequestError(message, f"name some of {', '.join(outputs)}.")
    return [outputs[name] for name in names]


def _find_outputs(path: str, interface: FileInterface, signature: Signature) -> list[FileTensor]:
    """Return the file's output for each of the model's: of its name, or the only one of its shape.

    Several of one shape are taken in their order if the file has as many of it as the model.
    """
    chosen: list[FileTensor] = []
    for output in signature.outputs:
        named = [one for one in interface.outputs if _is_called(one, output)]
        fitting = [one for one in interface.outputs if _fits(one, output) and one not in chosen]
        twins = [one for one in signature.outputs if one.shape == output.shape]
        if named:
            chosen.append(named[0])
        elif fitting and len(fitting) <= len(twins):
            chosen.append(fitting[0])
        else:
            listing = ", ".join(map(str, interface.outputs))
            which = "several outputs could be" if fitting else "no output is"
            message = f"{path} answers {listing}: {which} the model's {output.name} {output.shape}."
            fix = NAME_THEM if fitting else "give --outputs as the file answers, or its own model."
            raise RequestError(message, fix)
    return chosen


def _is_called(tensor: FileTensor, output: TensorSpec) -> bool:
    name = LIBRARY_NAMES.get(tensor.name, tensor.name)
    return output.name in {name, tensor.name} and _fits(tensor, output)


def _fits(tensor: FileTensor, expected: TensorSpec) -> bool:
    """Whether a tensor has the sides of the model's; free sides fit any."""
    if len(tensor.shape) != len(expected.shape):
        return False
    pairs = zip(tensor.shape[1:], expected.shape[1:], strict=True)
    return all(side is None or side == other for side, other in pairs)


def read_batch(interface: FileInterface) -> Batch:
    """Return the batch sizes that a file takes: any, or the only one."""
    shape = interface.inputs[0].shape
    size = shape[0] if shape else None
    return Batch() if size is None else Batch(size, size, size)
