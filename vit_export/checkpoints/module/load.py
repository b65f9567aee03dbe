"""From a module of no known family to a `Model`: its own code is the reference."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vit_export.checkpoints.module.checks import check_module
from vit_export.checkpoints.module.library import LIBRARY_BUILDERS
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.module.source import ModuleSource, build_module
from vit_export.core.errors import RequestError
from vit_export.model.model import Model, Provenance
from vit_export.model.program.answer import TensorAnswer
from vit_export.model.signature import BATCH, Meaning, TensorSpec, make_signature

GIVE_SHAPE = "give --image-size HxW, or --input CxHxW for anything but images of three channels."


def load_user_module(
    request: ModuleRequest,
    *,
    weights: Path | None,
    prefix: str | None,
    seed: int,
    batch_size: int | None,
    says_logits: bool,
    outputs: Sequence[str] | None = None,
) -> Model:
    """Return the model of a module that the user names, after every check of it.

    Args:
        request: the module.
        weights: its checkpoint; None leaves it with the weights that its code gives it.
        prefix: prefix of the tensors to read.
        seed: seed of random weights.
        batch_size: the only size of a batch; None for any size.
        says_logits: whether the user says that a vector of numbers is logits.
        outputs: the parts of its answer that the file answers; None for the tensor that counts.

    Raises:
        RequestError: the module can't be built, filled or exported; the message says why.
        MissingError: its library is not installed.
    """
    build = LIBRARY_BUILDERS.get(request.origin, build_module)
    source = build(request, weights, seed, prefix)
    changes: dict[str, Any] = {"module": request.recorded}
    if request.arguments:
        changes["set"] = {name: repr(value) for name, value in request.arguments.items()}
    if prefix:
        changes["prefix"] = prefix
    shape = request.sample_shape or source.sample_shape
    if shape is None:
        message = f"Nothing says which images --module {request.text} takes."
        raise RequestError(message, GIVE_SHAPE)
    model = make_model(
        replace(source, classifies=source.classifies or says_logits),
        name=request.recorded,
        sample_shape=shape,
        batch_size=batch_size,
        outputs=outputs,
    )
    if outputs is not None:
        changes["outputs"] = [*outputs]
    return model.with_overrides(changes)


def make_model(
    source: ModuleSource,
    *,
    name: str,
    sample_shape: tuple[int, ...],
    batch_size: int | None,
    outputs: Sequence[str] | None = None,
) -> Model:
    """Return the model of a module, after every check of it.

    Args:
        source: the module, which does not change, and where it comes from.
        name: its name in messages and in the manifest.
        sample_shape: shape of one sample: (C, H, W) of an image, or any other.
        batch_size: the only size of a batch; None for any size.
        outputs: the parts of its answer that the file answers; None for the tensor that counts.

    Raises:
        RequestError: the module can't be exported; the message says why.
    """
    module, answers = check_module(
        _freeze(source.module, name), sample_shape, batch_size, name, outputs
    )
    is_alone = len(answers) == 1
    specs = (
        _describe_output(key, one, module, says_logits=source.classifies and is_alone)
        for key, one in answers.items()
    )
    signature = make_signature(sample_shape, tuple(specs))
    preprocessing = source.preprocessing if signature.takes_images else None
    if preprocessing is not None and preprocessing.crop != signature.image_size:
        preprocessing = preprocessing.adapt_to(signature.image_size)
    labels = source.labels if len(source.labels) == signature.classes else ()
    return Model(
        name=name,
        module=module,
        signature=signature,
        provenance=Provenance(
            weights_from=source.weights_from,
            random_weights=source.random_weights,
            unused=source.unused,
        ),
        preprocessing=preprocessing,
        labels=labels,
        reading=source.reading,
    )


def _describe_output(
    name: str, answer: Tensor, module: nn.Module, *, says_logits: bool
) -> TensorSpec:
    """Return name, shape and meaning of an output, whose name is empty if it is the only one."""
    parts = module.parts if isinstance(module, TensorAnswer) else ()
    is_logits = says_logits or name == "logits" or (not name and parts == (("logits",),))
    is_vector = answer.ndim == 2  # noqa: PLR2004 (B, K)
    meaning: Meaning = "logits" if is_vector and is_logits else "tensor"
    shape = (BATCH, *answer.shape[1:])
    return TensorSpec(name=name or meaning, dtype="float32", shape=shape, meaning=meaning)


def _freeze(module: nn.Module, name: str) -> nn.Module:
    """Return a copy in fp32, on the CPU and in evaluation mode; it needs no gradients."""
    meta = next((key for key, one in module.state_dict().items() if one.is_meta), None)
    if meta is not None:
        message = f"{name} has no numbers: {meta} is on the meta device."
        raise RequestError(message, "build it on the CPU, or give --weights.")
    try:
        twin = copy.deepcopy(module).float().cpu().eval()
    except Exception as error:  # noqa: BLE001 any attribute of a module may refuse to be copied
        message = f"{name} can't be copied ({type(error).__name__}: {error})."
        raise RequestError(message, "name a function that returns the module afresh.") from None
    with torch.no_grad():
        return twin.requires_grad_(requires_grad=False)
