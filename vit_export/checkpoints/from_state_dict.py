"""From a state dict of a known family to the eager model of a spec."""

from typing import TYPE_CHECKING

from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.model.vit.state import StateDict
    from vit_export.model.vit.vit import Vit


def load_vit(
    spec: VitSpec, state: "StateDict", where: str, *, head_from: str | None = None
) -> "Vit":
    """Return the eager model of `spec` with exactly the tensors of `state`, in evaluation mode.

    Args:
        spec: the model to build.
        state: tensors under the names of a known family.
        where: the origin of `state`, for errors.
        head_from: name of the module whose tensors are the classifier, if it is not the family's.

    Raises:
        RequestError: no family has these names, or a tensor is missing, unexpected or mis-shaped.
    """
    from vit_export.checkpoints.families import find_family
    from vit_export.checkpoints.families.naming import build_name_lookup
    from vit_export.checkpoints.families.translation import translate
    from vit_export.checkpoints.own_head import take_head, take_replaced_head
    from vit_export.model.vit.state import fill

    family = find_family(state, where)
    if spec.norm_after_pool and not spec.norm_before_pool:
        family = family.norm_behind_pool or family
    if head_from is not None:
        family = take_head(family, state, head_from, where, leaves_head=not spec.classifies)
    else:
        family = take_replaced_head(family, state, where, leaves_head=not spec.classifies)
    translation = translate(family, state)
    original_name = build_name_lookup(family, translation)
    tensors = _rename_norm(translation.tensors, spec)
    return fill(spec, tensors, f"{where} ({family.name})", original_name)


def _rename_norm(tensors: "StateDict", spec: VitSpec) -> "StateDict":
    """Return `tensors` with the final norm in front of the pool if `spec` has it there.

    Behind the pool it does the same to the class token. Files of earlier versions have it in front.
    """
    if spec.pool != "token" or not spec.norm_before_pool or "head.norm.weight" in tensors:
        return tensors
    return {name.replace("head.pooled_norm.", "head.norm."): t for name, t in tensors.items()}
