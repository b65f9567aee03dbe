"""The spec of a checkpoint: what its tensors show, completed by facts from elsewhere.

The shapes of tensors show the sizes. No tensor shows the number of heads, the activation or the
epsilon of the norms: these facts come from a preset, the family's conventions, a config.json or an
option, and a later source overrides an earlier one. They are never guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_args

from torch import Tensor

from vit_export.checkpoints.families.base import UNKNOWN, Facts
from vit_export.checkpoints.formats import INCOMPLETE
from vit_export.checkpoints.infer_positions import infer_positions
from vit_export.checkpoints.infer_sizes import MATRIX, TABLE, count_rows, infer_parts, infer_sizes
from vit_export.core.errors import RequestError
from vit_export.model.vit.choices import Mlp
from vit_export.model.vit.spec import VitSpec

Tensors = Mapping[str, Tensor]

UNRECORDED_FIELDS = {
    "heads": "--heads N",
    "mlp": "--activation gelu|gelu_tanh|quick_gelu",
    "norm_eps": "--norm-eps X",
    "qkv_layout": None,
    "attention_scale": None,
    "pool": "--pool token|mean|patch_mean|patch_mean_norm|token_patch_mean",
}
"""Fields that no tensor shows, each with the option that sets it; None if only a preset does."""
POSITIONS = "embedding.positions"


def infer_spec(
    tensors: Tensors,
    facts: Facts,
    where: str,
    original_name: Callable[[str], str] = str,
    arch: str = "",
) -> VitSpec:
    """Return the spec of a model with these tensors.

    Args:
        tensors: tensors of the checkpoint under our names.
        facts: fields of VitSpec that are known from elsewhere. `image_size` settles the grid where
            the number of positions is not a square, `likely_size` where it fits; `heads` may be a
            mapping from width.
        where: the checkpoint, for errors.
        original_name: function from our name of a tensor to the checkpoint's, for errors.
        arch: the library whose architectures have these facts, for errors; empty without one.

    Raises:
        RequestError: a tensor that sizes are inferred from is missing, or a fact is.
    """
    sizes = infer_sizes(tensors, where, original_name)
    places = facts.get("rotary") or facts.get("positions") == "none" or TABLE in tensors
    if POSITIONS not in tensors and not places:
        message = f"{where}: {original_name(POSITIONS)} is missing."
        raise RequestError(message, INCOMPLETE)
    known = {name: value for name, value in facts.items() if name in _FIELDS}
    known |= sizes | infer_parts(tensors)
    if facts.get("projects"):
        known |= {"projection": sizes["projection"] or sizes["classes"], "classes": None}
    known["heads"] = _find_heads(facts.get("heads"), sizes["width"]) or sizes["heads"]
    known["pool"] = facts["pool"] if "pool" in facts else _infer_pool(known)
    if _takes_two_vectors(tensors, sizes["width"]):
        known["pool"] = "token_patch_mean"
    if _is_gated(tensors):
        known["mlp"] = "swiglu"
    elif known.get("mlp") == "swiglu":
        message = f"{where}: the layers of its MLP have no gates, as those of swiglu have."
        raise RequestError(message, "give --activation gelu|gelu_tanh|quick_gelu.")
    if known.get("rotary") == UNKNOWN:
        _check_known(known, where, arch)
    try:
        known |= infer_positions(tensors, known, facts, where)
    except RequestError as error:
        raise _ask_for_all(error, known) from None
    _check_known(known, where, arch)
    try:
        return VitSpec(**known)
    except RequestError as error:
        raise RequestError(f"{where}: {error.message}", error.fix) from None


_FIELDS = {field.name for field in fields(VitSpec)}


def _list_unknown(known: Facts) -> list[str]:
    unknown = [name for name in UNRECORDED_FIELDS if known.get(name) is None]
    return [*unknown, *(["rotary positions"] if known.get("rotary") == UNKNOWN else [])]


def _ask_for_all(error: RequestError, known: Facts) -> RequestError:
    """Return a question about the size that asks for all other unknown facts too."""
    unknown = {name: UNRECORDED_FIELDS.get(name) for name in _list_unknown(known)}
    questions = {name: option for name, option in unknown.items() if option is not None}
    if not questions:
        return error
    message = f"{error.message} They don't show {', '.join(questions)} either."
    return RequestError(
        message, error.fix.replace("give ", f"give {' '.join(questions.values())} ")
    )


def _check_known(known: Facts, where: str, arch: str) -> None:
    """Raise RequestError unless every field that no tensor shows has a supported value.

    The fix names `--arch` of the library `arch`, if it is not empty.
    """
    unknown = _list_unknown(known)
    if unknown:
        fields = (UNRECORDED_FIELDS.get(name) for name in unknown)
        options = [option for option in fields if option is not None]
        ways = [" ".join(options)] if len(options) == len(unknown) else []
        if arch:
            ways.append(f"--arch {arch}:NAME")
        has_preset = not known["norm_before_blocks"] and known["pool"] != "map"
        if has_preset and known.get("rotary") is None:
            ways.append("--model NAME of the same architecture")
        message = f"{where}: its tensors don't show {', '.join(unknown)}."
        raise RequestError(message, f"give {', or '.join(ways)}.")
    if known["mlp"] not in get_args(Mlp):
        message = f"{where}: its MLP's activation, {known['mlp']!r}, is not supported yet."
        raise RequestError(message, f"export another model; supported: {', '.join(get_args(Mlp))}.")


def _find_heads(fact: Any, width: int) -> int | None:
    """Return the heads from a fact that may be a mapping from width."""
    heads: int | None = fact.get(width) if isinstance(fact, Mapping) else fact
    return heads


def _infer_pool(parts: Facts) -> str:
    """Return the pool that goes with these parts: timm's `fc_norm` goes with the patches' mean."""
    averages = parts["norm_after_pool"] or not parts["class_token"]
    return "patch_mean" if averages else "token"


def list_shown(tensors: Tensors, spec: VitSpec) -> frozenset[str]:
    """Return the fields of `spec`, among those that users change, that its tensors show."""
    probes = "head.attention_pool.probe" in tensors
    return frozenset({"pool"} if probes or _takes_two_vectors(tensors, spec.width) else ())


def _takes_two_vectors(tensors: Tensors, width: int) -> bool:
    """Return whether the classifier reads the class token and the patches' mean together."""
    classifier = tensors.get("head.classifier.weight")
    if classifier is None or classifier.ndim != MATRIX:
        return False
    return classifier.shape[1] == 2 * width


def _is_gated(tensors: Tensors) -> bool:
    """Return whether the MLP's first layer has twice the rows, for values and their gates."""
    expand = tensors.get("blocks.0.mlp.expand.weight")
    hidden = tensors["blocks.0.mlp.contract.weight"].shape[1]
    return expand is not None and count_rows(expand) == 2 * hidden
