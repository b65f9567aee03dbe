"""From an eager model to the module that is exported in its place."""

from typing import TYPE_CHECKING

from vit_export.model.model import Model

if TYPE_CHECKING:  # torch is heavy, and reading a request must be light
    from vit_export.model.vit.lowering import LoweredVit


def lower(model: Model, *, unfold: bool = False) -> "LoweredVit":
    """The export-friendly module that computes the answers of `model`.

    A known Vision Transformer is rewritten; the proof compares the result with the eager module.

    Args:
        model: the eager model, which does not change.
        unfold: whether the patch embedding becomes a linear layer, so that it can be quantized.

    Raises:
        TypeError: the model is no known Vision Transformer.
    """
    from vit_export.model.vit.lowering import lower as lower_vit

    return lower_vit(model.vit, unfold=unfold)
