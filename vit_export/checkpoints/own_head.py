"""The family of a checkpoint, with the classifier that the user chose.

A user's own classifier may stand where the library's stands, and read another vector. A tensor that
a model with such a classifier would use, a pooler for example, makes that a question.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from vit_export.checkpoints.families import find_family
from vit_export.checkpoints.families.base import Config, Family
from vit_export.checkpoints.families.hf_config import check_supported, is_classifier
from vit_export.checkpoints.families.open_clip_config import pools_before_norm
from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import PATCH_MEAN_NORM, CheckpointHints
from vit_export.core.errors import RequestError

CLASSIFIER = "head.classifier."
MATRIX = 2
"""Number of a matrix's axes."""
MAX_NAMES = 5
"""Number of names that one error lists."""


def choose_family(
    checkpoint: Checkpoint, hints: CheckpointHints, outputs: Sequence[str] | None
) -> Family:
    """Return the family of a checkpoint, with the classifier of `--head-from` if it is given.

    Args:
        checkpoint: tensors and the JSON files beside them.
        hints: facts that the user provides.
        outputs: the outputs that the request names; None for the model's own answer.

    Raises:
        RequestError: no family has these names, the answer of the model is not supported, or no
            tensor shows which vector the classifier reads.
    """
    where, tensors = str(checkpoint.path), checkpoint.tensors
    leaves_head = outputs is not None and "logits" not in outputs
    check_supported(checkpoint.config, where, needs_head=not leaves_head)
    family = find_family(tensors, where, checkpoint.config)
    family = _place_norm(family, checkpoint.config, hints)
    if hints.head_from is not None:
        return take_head(family, tensors, hints.head_from, where, leaves_head=leaves_head)
    reads_vector = not leaves_head or "features" in (outputs or ())
    needs_vector = reads_vector if family.own_head else not leaves_head
    if hints.pool is None and needs_vector:
        _check_vector(family, tensors, checkpoint.config, where)
    return take_replaced_head(family, tensors, where, leaves_head=leaves_head)


def _place_norm(family: Family, config: Config, hints: CheckpointHints) -> Family:
    """Return `family` with its final norm behind the pool if a config.json or a hint says so."""
    if hints.pool == PATCH_MEAN_NORM and family.norm_behind_pool is None:
        message = f"--pool {PATCH_MEAN_NORM} is of OpenCLIP's towers, and this is {family.name}."
        raise RequestError(message, "give --pool patch_mean.")
    if hints.pool == PATCH_MEAN_NORM or pools_before_norm(config):
        return family.norm_behind_pool or family
    return family


def take_replaced_head(
    family: Family, tensors: Mapping[str, Tensor], where: str, *, leaves_head: bool = False
) -> Family:
    """Return `family` with a user's own layer in the place of its classifier, if there is one.

    Tutorials put `Linear` or `Sequential(Dropout, Linear)` there: the place is the library's, and
    what has no tensors does nothing in evaluation mode, unless it is a softmax.

    Args:
        family: the family of the tensors.
        tensors: tensors of the checkpoint.
        where: the checkpoint, for errors.
        leaves_head: whether the request leaves the classifier out, which may then be any module.

    Raises:
        RequestError: other layers stand in the place of the classifier.
    """
    patterns = [p for p, ours in family.names.items() if ours.startswith(CLASSIFIER)]
    for pattern in patterns:
        place = re.match(r"\w+", pattern)
        if place is None or not family.head_has_bias:
            continue
        inside = [name for name in tensors if name.startswith(f"{place[0]}.")]
        if all(any(re.fullmatch(p, name) for p in family.names) for name in inside):
            continue
        taken = take_head(family, tensors, place[0], where, leaves_head=leaves_head)
        layer = "" if leaves_head else _find_linear(tensors, place[0], inside, where)
        return replace(taken, replaced_head=layer)
    return family


def take_head(
    family: Family,
    tensors: Mapping[str, Tensor],
    module: str,
    where: str,
    *,
    leaves_head: bool = False,
) -> Family:
    """Return `family` with the tensors of `module` as its classifier.

    Args:
        family: the family of the tensors.
        tensors: tensors of the checkpoint.
        module: name of a linear layer, or of a `Sequential` that has no other.
        where: the checkpoint, for errors.
        leaves_head: whether the request leaves the classifier out, which may then be any module.

    Raises:
        RequestError: there is no such module, or it is no linear layer.
    """
    inside = [name for name in tensors if name.startswith(f"{module}.")]
    if not inside:
        modules = dict.fromkeys(name.partition(".")[0] for name in tensors)
        message = f"{where}: no tensor belongs to a module {module!r}."
        listing = ", ".join([*modules][-MAX_NAMES:])
        raise RequestError(message, f"give --head-from NAME of a module; there are {listing}.")
    if family.own_head is not None and family.own_head.recognizes(tensors.keys()):
        family = family.own_head
    others = {p: o for p, o in family.names.items() if o.startswith(("head.cl", "head.dist"))}
    names = {pattern: ours for pattern, ours in family.names.items() if pattern not in others}
    unused = {**family.unused, **dict.fromkeys(others, f"--head-from takes {module}")}
    if leaves_head:
        unused = {re.escape(module) + r"\..*": "--outputs leaves it out", **unused}
    else:
        layer = _find_linear(tensors, module, inside, where)
        names[re.escape(layer) + r"\.(\w+)"] = CLASSIFIER + r"\1"
        unused = {f"(?!{re.escape(layer)}\\.)(?:{p})": reason for p, reason in unused.items()}
    return replace(family, names=names, unused=unused, head_has_bias=False)


def _find_linear(tensors: Mapping[str, Tensor], module: str, inside: list[str], where: str) -> str:
    """Return the name of the only layer in a module, which is linear."""
    layers = {name.rpartition(".")[0] for name in inside}
    weights = [name for name in inside if name.endswith(".weight")]
    if len(layers) == len(weights) == 1 and tensors[weights[0]].ndim == MATRIX:
        return layers.pop()
    listing = ", ".join(inside[:MAX_NAMES]) + (", …" if len(inside) > MAX_NAMES else "")
    message = f"{where}: {module} is not one linear layer ({listing}), as is supported so far."
    raise RequestError(message, "give --outputs features too, which leaves it out.")


def _check_vector(
    family: Family, tensors: Mapping[str, Tensor], config: Config, where: str
) -> None:
    """Raise RequestError if no tensor shows which vector the classifier reads."""
    patterns = [p for p, ours in family.names.items() if ours.startswith(CLASSIFIER)]
    classifier = _find_name(patterns, tensors)
    if classifier is None or is_classifier(config):
        return
    for pattern, fix in family.rivals.items():
        rival = _find_name([pattern], tensors)
        if rival is not None:
            message = f"{where}: no tensor shows whether {rival} stands before {classifier}."
            raise RequestError(message, fix)


def _find_name(patterns: list[str], tensors: Mapping[str, Tensor]) -> str | None:
    return next((n for n in tensors if any(re.fullmatch(p, n) for p in patterns)), None)
