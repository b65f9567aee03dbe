"""From a state dict of a known family to the eager model of a spec."""

from typing import TYPE_CHECKING

from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.model.vit.state import StateDict
    from vit_export.model.vit.vit import Vit


def load_vit(spec: VitSpec, state: "StateDict", where: str) -> "Vit":
    """Return the eager model of `spec` with exactly the tensors of `state`, in evaluation mode.

    Errors name `where`, the origin of `state`, and the tensors as `state` names them.

    Raises:
        RequestError: no family has these names, or a tensor is missing, unexpected or mis-shaped.
    """
    from vit_export.checkpoints.families import find_family
    from vit_export.checkpoints.families.naming import build_name_lookup
    from vit_export.checkpoints.families.translation import translate
    from vit_export.model.vit.state import fill

    family = find_family(state, where)
    translation = translate(family, state)
    original_name = build_name_lookup(family, translation)
    return fill(spec, translation.tensors, f"{where} ({family.name})", original_name)
