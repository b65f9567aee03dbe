"""A module in memory as a model: of a known family, or the general way, by its own code."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vit_export.checkpoints.from_module import load_module
from vit_export.core.errors import RequestError
from vit_export.model.model import Model

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from vit_export.checkpoints.libraries.judging import CheckReading
    from vit_export.model.vit.spec import VitSpec

    InMemory = nn.Module | tuple[VitSpec, Mapping[str, Tensor]]

GIVE_EXAMPLE = "give example=torch.zeros(1, 3, 224, 224) in the shape of its images"


def load_from_memory(
    model: "InMemory",
    *,
    check_reading: "CheckReading | None",
    sample_shape: tuple[int, ...] | None,
    is_example: bool,
    batch_size: int | None,
    says_logits: bool,
    outputs: "Sequence[str] | None" = None,
) -> Model:
    """Return the eager model of a module in memory, or of a spec with its state dict.

    A module of a known family is rewritten for speed. One of no known family, or one that computes
    something else than its tensors say, is exported as it is.

    Args:
        model: the module, or (VitSpec, state dict).
        check_reading: called with the module's own answer and what was read of it.
        sample_shape: (C, H, W) of one image; None if nothing says it.
        is_example: whether that is the shape of the user's example, which the model has to take.
        batch_size: the only size of a batch; None for any size.
        says_logits: whether the user says that a vector of numbers is logits.
        outputs: the outputs that the user names; those of a known family are for the caller.

    Raises:
        RequestError: it is neither, or it can't be exported; the message says why.
    """
    if isinstance(model, tuple):
        return load_module(model)
    try:
        loaded = _read(model, check_reading)
    except RequestError as error:
        reason = error
    else:
        if not is_example or loaded.signature.sample_shape == sample_shape:
            return loaded
        message = f"its tensors say images of {loaded.signature.sample_shape}, not {sample_shape}"
        reason = RequestError(f"{message}.", "")
    from torch import nn

    if not isinstance(model, nn.Module):
        raise reason
    if sample_shape is None:
        fix = f"{reason.fix.rstrip('.')}; or {GIVE_EXAMPLE}, and its own code is exported."
        raise RequestError(reason.message, fix)
    from vit_export.checkpoints.module.load import make_model
    from vit_export.checkpoints.module.source import ModuleSource

    loaded = make_model(
        ModuleSource(module=model, weights_from="a live module", classifies=says_logits),
        name=type(model).__name__,
        sample_shape=sample_shape,
        batch_size=batch_size,
        outputs=outputs,
    )
    return replace(loaded, reading=f"{loaded.reading} ({reason.message.rstrip('.')})")


def _read(model: "nn.Module", check_reading: "CheckReading | None") -> Model:
    loaded = load_module(model)
    if check_reading is None:
        return loaded
    from vit_export.checkpoints.libraries.judging import describe_judge
    from vit_export.checkpoints.libraries.live import judge_module

    judge = judge_module(model)
    return replace(loaded, reading=describe_judge(judge, check_reading(judge, loaded)))
