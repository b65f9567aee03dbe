"""From an eager model to the module that is exported in its place."""

from typing import TYPE_CHECKING

from vit_export.model.model import Model

if TYPE_CHECKING:  # torch is heavy, and reading a request must be light
    from vit_export.model.vit.lowering import LoweredVit


def lower(model: Model, *, unfold: bool = False) -> "LoweredVit":
    """The export-friendly module that answers as `model` does.

    A known Vision Transformer is rewritten; the proof holds the result against the eager module.

    Args:
        model: the eager model; it stays as it is.
        unfold: write the patch embedding as one linear layer, so that it can be quantized.
    """
    from vit_export.model.vit.lowering import lower as lower_vit

    return lower_vit(model.vit, unfold=unfold)
