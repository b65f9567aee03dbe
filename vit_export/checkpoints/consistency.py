"""Checks of a checkpoint against its family, its config.json and the user's hints.

A file that lacks tensors may look like a smaller model; these checks detect that.
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.formats import INCOMPLETE
from vit_export.checkpoints.hints import OPTIONS
from vit_export.core.errors import RequestError
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.families.base import Family

FIELDS_OF_ARCHITECTURES = {
    r".*ForImageClassification.*": "classes",
    r".*WithProjection|CLIPModel": "projection",
}
"""Names of architectures in a config.json to the field of VitSpec that such a model must have."""
CLASSIFIER = "head.classifier"


def check_model_type(config: Mapping[str, Any], family: "Family", path: Path) -> None:
    """Raise RequestError if the config.json beside `path` names a model of another family."""
    from vit_export.checkpoints.families import FAMILIES

    inner = config.get("vision_config")
    types = [one.get("model_type") for one in (config, inner) if isinstance(one, Mapping)]
    known = [one for one in types if one is not None]
    if not known or any(one in family.model_types for one in known):
        return
    description = f"The config.json of {path} describes a {known[0]!r}"
    if any(one in other.model_types for one in known for other in FAMILIES):
        raise RequestError(
            f"{description}, the weights are {family.name}.",
            "put their own config.json beside the weights, or move the weights to another folder.",
        )
    message = f"{description}, which is not supported yet; the weights have names of {family.name}."
    fix = "export another model; or move the weights to another folder if that file is not theirs."
    raise RequestError(message, fix)


def check_complete(
    names: Collection[str],
    family: "Family",
    config: Mapping[str, Any],
    original_name: Callable[[str], str],
    where: str,
) -> None:
    """Raise RequestError unless `names` has every tensor that all models of the family have.

    Args:
        names: names in `Vit` of the tensors.
        family: the family of the checkpoint.
        config: content of the config.json; empty without one.
        original_name: maps a name in `Vit` to the name in the checkpoint, for the error.
        where: the checkpoint, for the error.
    """
    has_norm = not family.lacks_norm(config)
    required = [name for name in family.required if has_norm or not name.startswith("head")]
    if family.head_has_bias and f"{CLASSIFIER}.weight" in names:
        required.append(f"{CLASSIFIER}.bias")
    missing = [one for one in required if not any(re.fullmatch(one, name) for name in names)]
    if missing:
        listing = ", ".join(original_name(_first_alternative(one)) for one in missing)
        message = f"{where}: every model of this family has {listing}."
        raise RequestError(message, INCOMPLETE)


def _first_alternative(pattern: str) -> str:
    """Return a name that `pattern` matches, with the first alternative of each group."""
    return re.sub(r"\((\w+)\|\w+\)", r"\1", pattern).replace("\\", "")


def check_config(spec: VitSpec, family: "Family", config: Mapping[str, Any], where: str) -> None:
    """Raise RequestError unless the tensors have the sizes and parts in the config.json."""
    from vit_export.checkpoints.families.hf_config import find_vision_config

    if family.is_square and spec.relative_bias and spec.grid[0] != spec.grid[1]:
        message = f"{where}: transformers resamples the relative positions of images that are not "
        raise RequestError(f"{message}square, which is not supported yet.", "export another model.")
    inner = find_vision_config(config)
    for theirs, ours in family.config_sizes.items():
        expected, actual = inner.get(theirs), getattr(spec, ours)
        actual = spec.hidden if ours == "mlp_hidden" else 0 if actual is None else actual
        for one in expected if isinstance(expected, list) else [expected]:
            if one is not None and one != actual:
                message = f"{where}: its config.json says {theirs} {one}, its tensors {actual}."
                raise RequestError(message, "give the whole checkpoint and its own config.json.")
    for architecture in config.get("architectures") or ():
        for pattern, field in FIELDS_OF_ARCHITECTURES.items():
            if re.fullmatch(pattern, architecture) and getattr(spec, field) is None:
                message = f"{where}: its config.json names a {architecture}, "
                message += f"its tensors have no {field}."
                raise RequestError(message, "give the whole checkpoint and its own config.json.")


def check_hints(spec: VitSpec, hints: Mapping[str, Any], where: str) -> None:
    """Raise RequestError unless the spec has the value of each hint, so that none is ignored."""
    for name, value in hints.items():
        actual = getattr(spec, name)
        if name == "mlp" and actual == "swiglu" != value:
            message = f"{where}: its MLP is gated, and a gate of {value} is not supported yet."
            raise RequestError(
                message, f"export a model whose gate is silu ({OPTIONS[name]} swiglu)."
            )
        if actual != value:
            message = f"{where}: {OPTIONS[name]} says {value}, its tensors say {actual}."
            raise RequestError(message, f"leave {OPTIONS[name]} out.")
