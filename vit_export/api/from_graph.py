"""`--from FILE.onnx`: another tool's graph is the model, and its own answers are right."""

from pathlib import Path

import numpy as np

from vit_export.api.request import ExportRequest
from vit_export.backends.open import find_backend_of
from vit_export.backends.openers import OpenOutputs
from vit_export.backends.records import FileInterface
from vit_export.checkpoints.apply_overrides import apply_overrides
from vit_export.checkpoints.problem_type import set_problem_type
from vit_export.core.errors import RequestError
from vit_export.data.sizes import parse_image_size
from vit_export.model.model import Model, Provenance
from vit_export.model.signature import (
    BATCH,
    IMAGE_AXES,
    Meaning,
    Signature,
    TensorSpec,
    make_signature,
)
from vit_export.validation.match_tensors import read_batch, read_sample_shape

CHANNELS = 3
"""Channels of the images of a file that leaves them free."""
FIX = "leave it out: --from names the model, and its own answers are right."


def load_graph(path: Path, request: ExportRequest) -> Model:
    """Return the model that an ONNX file of another tool is.

    Raises:
        RequestError: the request names another model too, the file is no ONNX file in fp32 that
            takes single images, or it has no answer that a file could be compared with.
    """
    from vit_export.checkpoints.module.checks import check_module
    from vit_export.graph.foreign import open_graph

    _check_alone(request)
    backend = find_backend_of(path)
    if backend.open_outputs is None or backend.find_precisions(path) != {"fp32"}:
        message = f"{path} is no ONNX file that computes in fp32."
        raise RequestError(message, "give the file from before it got fewer bits.")
    _, interface = backend.open_outputs(path, request.threads, ())
    batch, fixed = read_batch(interface), request.batch.fixed
    if batch.fixed and batch.fixed != fixed:
        message = f"{path} takes batch {batch.fixed} alone."
        raise RequestError(message, f"give --batch {batch.fixed}.")
    signature = _read_signature(path, backend.open_outputs, interface, request)
    module = open_graph(path, signature)
    check_module(module, signature.sample_shape, fixed, path.name)
    model = Model(
        name=path.name,
        module=module,
        signature=signature,
        provenance=Provenance(weights_from=path.name, overrides={"from": path.name}),
        reading=f"{path.name} is the reference, in ONNX Runtime",
    )
    overrides = request.overrides
    return apply_overrides(set_problem_type(model, request.hints.problem_type), overrides)


def _check_alone(request: ExportRequest) -> None:
    """Raise RequestError if an option names or changes a model besides the graph."""
    given = {
        "--model": request.model,
        "--weights": request.weights,
        "--module": request.module and request.module.text,
        "--outputs": request.overrides.outputs,
        "--classes": request.overrides.classes,
        **dict.fromkeys(request.hints.list_checkpoint_options(), True),
    }
    for option, value in given.items():
        if value is not None and value != "":
            raise RequestError(f"{option} means nothing with --from.", FIX)


def _read_signature(
    path: Path, open_outputs: OpenOutputs, interface: FileInterface, request: ExportRequest
) -> Signature:
    """Return the tensors of a file by their own names; a run on zeros shows all sides."""
    shape = _choose_shape(path, interface, request)
    says_logits = request.hints.problem_type is not None or request.overrides.labels is not None
    zeros = np.zeros((request.batch.fixed or 1, *shape), np.float32)
    outputs = []
    for name in (one.name for one in interface.outputs):
        session, _ = open_outputs(path, request.threads, [name])
        sides = session.run(zeros).shape[1:]
        is_logits = name == "logits" or (says_logits and len(interface.outputs) == 1)
        meaning: Meaning = "logits" if is_logits and len(sides) == 1 else "tensor"
        outputs.append(
            TensorSpec(name=name, dtype="float32", shape=(BATCH, *sides), meaning=meaning)
        )
    signature = make_signature(shape, tuple(outputs))
    (image,) = signature.inputs
    renamed = TensorSpec(
        name=interface.inputs[0].name, dtype=image.dtype, shape=image.shape, meaning=image.meaning
    )
    return Signature(inputs=(renamed,), outputs=signature.outputs)


def _choose_shape(path: Path, interface: FileInterface, request: ExportRequest) -> tuple[int, ...]:
    """Return the shape of one sample: the file's, whose free height and width the user sets."""
    shape = read_sample_shape(str(path), interface)
    size = request.overrides.image_size
    if size is not None and len(shape) == IMAGE_AXES:
        height, width = parse_image_size(size)
        wanted = (shape[0] or CHANNELS, height, width)
        if any(side not in {None, one} for side, one in zip(shape, wanted, strict=True)):
            message = f"{path} takes images of {shape[1]}x{shape[2]} alone."
            raise RequestError(message, "leave --image-size out.")
        shape = wanted
    if None in shape:
        sides = "x".join("?" if side is None else str(side) for side in shape)
        message = f"{path} takes samples of any {sides}."
        raise RequestError(message, "give --image-size HxW, the size that the new file takes.")
    return tuple(side for side in shape if side is not None)
