"""A model in memory: a module of a known family, or a spec with its state dict."""

from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.model.model import Model, Provenance
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Mapping

    from torch import Tensor, nn


def from_live(model: "nn.Module | tuple[VitSpec, Mapping[str, Tensor]]") -> Model:
    """The eager model of a module in memory, or of a spec with its state dict.

    Whether the module computes what its names and attributes say is not checked here
    (`validation.reading`).

    Raises:
        RequestError: `model` is neither, or a module of no known family.
    """
    from torch import nn

    from vit_export.checkpoints.from_state_dict import load_vit

    if isinstance(model, nn.Module):
        return _from_module(model)
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], VitSpec):  # noqa: PLR2004
        vit = load_vit(*model, "the state dict")
        provenance = Provenance(weights_from="a state dict")
        return Model.from_vit(vit, name="VitSpec", provenance=provenance)
    raise RequestError(
        f"{type(model).__name__} is not a model.",
        "give a preset's name, a live module, or (VitSpec, state dict).",
    )


def _from_module(module: "nn.Module") -> Model:
    from vit_export.checkpoints.families import family_of
    from vit_export.checkpoints.families.naming import originals
    from vit_export.checkpoints.infer_spec import infer_spec
    from vit_export.model.vit.state import fill

    name, state = type(module).__name__, module.state_dict()
    family = family_of(state, name)
    renamed = family.rename(state)
    facts, original = family.conventions | family.module_facts(module), originals(family, renamed)
    spec = facts["spec"] if "spec" in facts else infer_spec(renamed.tensors, facts, name, original)
    vit = fill(spec, renamed.tensors, f"{name} ({family.name})", original)
    provenance = Provenance(weights_from="a live module", unused=renamed.unused)
    return Model.from_vit(vit, name=name, provenance=provenance, resampling=family.resampling)
