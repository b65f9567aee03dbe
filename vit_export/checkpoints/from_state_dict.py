"""A state dict of a known family into a model whose spec is known."""

from typing import TYPE_CHECKING

from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.model.vit.state import StateDict
    from vit_export.model.vit.vit import Vit


def load_vit(spec: VitSpec, state: "StateDict", where: str) -> "Vit":
    """Return the eager model of `spec` with exactly the tensors of `state`, for evaluation.

    Errors name `where`, the origin of `state`, and use the names that its tensors have there.

    Raises:
        RequestError: no family has these names, or a tensor is missing, unexpected or mis-shaped.
    """
    from vit_export.checkpoints.families import family_of
    from vit_export.checkpoints.families.naming import originals
    from vit_export.model.vit.state import fill

    family = family_of(state, where)
    renamed = family.rename(state)
    return fill(spec, renamed.tensors, f"{where} ({family.name})", originals(family, renamed))
