"""A checkpoint held to what is said of it: its family's custom, its config.json, the request.

A file that lost tensors still looks like a smaller model; here it is found out.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.core.errors import RequestError
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Callable

    from vit_export.checkpoints.families.base import Family

PROMISED = {
    r".*ForImageClassification.*": "classes",
    r".*WithProjection|CLIPModel": "projection",
}
"""Names of architectures in a config.json to the field that such a model has."""
OPTIONS = {
    "heads": "--heads",
    "mlp": "--activation",
    "pool": "--pool",
    "norm_eps": "--norm-eps",
    "image_size": "--trained-size",
}
HEAD = "head.classifier"


def check_kind(config: Mapping[str, Any], family: "Family", path: Path) -> None:
    """Nothing, when the config.json beside `path` is of the family, or does not say of which.

    Raises:
        RequestError: it is another model's.
    """
    inner = config.get("vision_config")
    told = [one.get("model_type") for one in (config, inner) if isinstance(one, Mapping)]
    known = [one for one in told if one is not None]
    if known and not any(one in family.model_types for one in known):
        message = f"The config.json of {path} is of a {known[0]!r}, the weights are {family.name}."
        raise RequestError(
            message, "put its own config.json beside it, or the file alone in a folder."
        )


def check_whole(
    names: Collection[str],
    family: "Family",
    config: Mapping[str, Any],
    original: "Callable[[str], str]",
    where: str,
) -> None:
    """Nothing, when what every model of the family has is among `names`, which are ours.

    Raises:
        RequestError: something is missing, in the words of the file.
    """
    normed = not family.normless(config)
    wanted = [name for name in family.always if normed or not name.startswith("head")]
    if family.biased_head and f"{HEAD}.weight" in names:
        wanted.append(f"{HEAD}.bias")
    lost = [one for one in wanted if not any(re.fullmatch(one, name) for name in names)]
    if lost:
        told = ", ".join(original(_first(one)) for one in lost)
        message = f"{where}: every model of this family has {told}."
        raise RequestError(message, "give a whole checkpoint; this one lost tensors.")


def _first(pattern: str) -> str:
    """The name, or the first of those that would do."""
    return re.sub(r"\((\w+)\|\w+\)", r"\1", pattern).replace("\\", "")


def check_config(spec: VitSpec, family: "Family", config: Mapping[str, Any], where: str) -> None:
    """Nothing, when the tensors are as large, as deep and as complete as the config.json says.

    Raises:
        RequestError: they are not; the message has both numbers.
    """
    inner = config.get("vision_config", config)
    for theirs, ours in family.config_sizes.items():
        told, found = inner.get(theirs), getattr(spec, ours)
        found = spec.hidden if ours == "mlp_hidden" else 0 if found is None else found
        for one in told if isinstance(told, list) else [told]:
            if one is not None and one != found:
                message = f"{where}: its config.json says {theirs} {one}, its tensors {found}."
                raise RequestError(message, "give the whole checkpoint and its own config.json.")
    for architecture in config.get("architectures") or ():
        for pattern, field in PROMISED.items():
            if re.fullmatch(pattern, architecture) and getattr(spec, field) is None:
                message = f"{where}: a {architecture}, says its config.json, and it has no {field}."
                raise RequestError(message, "give the whole checkpoint and its own config.json.")


def check_told(spec: VitSpec, told: Mapping[str, Any], where: str) -> None:
    """Nothing, when the model is what the request tells of it.

    Raises:
        RequestError: its tensors tell otherwise; nothing that was said is ignored.
    """
    for name, value in told.items():
        found = getattr(spec, name)
        if found != value:
            message = f"{where}: {OPTIONS[name]} says {value}, its tensors say {found}."
            raise RequestError(message, f"leave {OPTIONS[name]} out.")
