"""A model in memory: a module of a known family, or a spec with its state dict."""

from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.known_module import find_known_module
from vit_export.checkpoints.problem_type import KEY, find_problem_type
from vit_export.core.errors import RequestError
from vit_export.model.model import Model, Provenance
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Mapping

    from torch import Tensor, nn

    from vit_export.checkpoints.families.base import Family
    from vit_export.model.vit.adapt import Resampling

FOR_FILES = ("--", "checkpoint")
"""Words of advice about files, which is none for a module in memory."""
GIVE_SPEC = "give (VitSpec, state dict) if a spec describes it."


def load_module(model: "nn.Module | tuple[VitSpec, Mapping[str, Tensor]]") -> Model:
    """Return the eager model of a module in memory, or of a spec with its state dict.

    `validation.reading` checks whether the module computes what its names and attributes say.

    Raises:
        RequestError: `model` is neither, or is of no known family.
    """
    from torch import nn

    from vit_export.checkpoints.from_state_dict import load_vit

    if isinstance(model, nn.Module):
        try:
            return _read_module(model)
        except RequestError as error:
            if any(word in error.fix for word in FOR_FILES):
                raise RequestError(error.message, GIVE_SPEC) from None
            raise
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], VitSpec):  # noqa: PLR2004
        vit = load_vit(*model, "the state dict")
        provenance = Provenance(weights_from="a state dict")
        return Model.from_vit(vit, name="VitSpec", provenance=provenance)
    raise RequestError(
        f"{type(model).__name__} is not a model.",
        "give the name of a preset, an nn.Module, or (VitSpec, state dict).",
    )


def _read_module(module: "nn.Module") -> Model:
    from vit_export.checkpoints.families.naming import build_name_lookup
    from vit_export.checkpoints.families.translation import translate
    from vit_export.checkpoints.infer_spec import infer_spec
    from vit_export.checkpoints.own_head import take_replaced_head
    from vit_export.model.vit.state import fill

    name, known = type(module).__name__, find_known_module(module)
    state = known.module.state_dict()
    family = take_replaced_head(known.family, state, name)
    translation = translate(family, state)
    tensors, original_name = translation.tensors, build_name_lookup(family, translation)
    facts = family.conventions | known.facts
    spec = facts["spec"] if "spec" in facts else infer_spec(tensors, facts, name, original_name)
    vit = fill(spec, tensors, f"{name} ({family.name})", original_name)
    provenance = Provenance(weights_from="a live module", unused=translation.unused)
    problem_type, assumed = find_problem_type(_read_config(known.owner), spec.classes or 0, name)
    return Model.from_vit(
        vit,
        name=name,
        provenance=provenance,
        problem_type=problem_type,
        assumed=assumed,
        resampling=_find_resampling(family, known.owner),
    )


def _find_resampling(family: "Family", module: "nn.Module") -> "Resampling":
    """Return how a module resamples positions, which its configuration may say."""
    from vit_export.checkpoints.families import SAME_NAMES

    kind = getattr(getattr(module, "config", None), "model_type", None)
    return SAME_NAMES.get(str(kind), family).resampling


def _read_config(module: "nn.Module") -> dict[str, Any]:
    """Return the problem type that a module of transformers records."""
    config = getattr(module, "config", None)
    return {KEY: getattr(config, KEY, None)}
