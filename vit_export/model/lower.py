"""From an eager model to the module that is exported in its place."""

from typing import TYPE_CHECKING

from vit_export.model.model import Model

if TYPE_CHECKING:  # torch is heavy, and reading a request must be light
    from vit_export.model.layered import LayeredModule
    from vit_export.model.opaque import OpaqueModule
    from vit_export.model.program.lowered import LoweredProgram

    Lowered = LayeredModule | LoweredProgram
    """The module that is exported in the place of an eager one."""


def lower(
    model: Model, *, unfold: bool = False, batch_size: int | None = None
) -> "Lowered | OpaqueModule":
    """The export-friendly module that computes the answers of `model`.

    A known Vision Transformer is rewritten, any other module is captured as it is; a graph of
    another tool is left alone. The proof compares the result with the eager module.

    Args:
        model: the eager model, which does not change.
        unfold: whether the patch embedding of a Vision Transformer becomes a linear layer, so that
            it can be quantized.
        batch_size: the only size of a batch; None for any size from 1 on.

    Raises:
        RequestError: the code of the module can't be captured.
    """
    from vit_export.model.opaque import OpaqueModule

    if isinstance(model.module, OpaqueModule):
        return model.module
    if model.spec is None:
        from vit_export.model.program.answer import separate
        from vit_export.model.program.export import export_program
        from vit_export.model.program.lowered import LoweredProgram

        shape = model.signature.inputs[0].sample_shape
        return LoweredProgram(export_program(separate(model.module), shape, batch_size, model.name))
    from vit_export.model.vit.lowering import lower as lower_vit

    return lower_vit(model.vit, unfold=unfold)
