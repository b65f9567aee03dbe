"""What is assumed about a checkpoint: facts that only the conventions of its family give.

A convention is right for most checkpoints of a family and wrong for the rest, and the proof cannot
tell: it compares the file with the model that was read. So each assumption is named.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.preprocessing import ASSUMED
from vit_export.checkpoints.problem_type import KEY as PROBLEM_TYPE
from vit_export.core.errors import RequestError

if TYPE_CHECKING:  # torch is heavy, and `validate` reads a manifest without it
    from vit_export.checkpoints.families.base import Family
    from vit_export.model.model import Model
    from vit_export.model.vit.spec import VitSpec

KEYS = {
    "pool": "pool",
    "mlp": "activation",
    "heads": "heads",
    "norm_eps": "norm_eps",
    "image_size": "trained_size",
    "rotary": "rotary",
}
"""Fields of VitSpec that users change and no tensor shows, with the names that users type."""
BLOCK, PREPROCESSING, CLASSIFIER = "block", "preprocessing", "classifier"
"""Further assumptions: the kind of the blocks, mean and std, what the classifier's output is."""
QUESTIONS = {
    "pool": "--pool {}",
    "activation": "--activation {}",
    "heads": "--heads {}",
    "norm_eps": "--norm-eps {}",
    "trained_size": "--trained-size {}",
    "rotary": "--arch LIBRARY:NAME",
    BLOCK: "--arch timm:NAME",
    PREPROCESSING: "",
    CLASSIFIER: "--head-from {}",
    PROBLEM_TYPE: "--problem-type {}",
}
"""Assumptions to the options that settle them; `{}` stands for the assumed value."""
NO_READING = (PREPROCESSING,)
"""Assumptions that the answers of the model do not depend on."""
UNCHECKED = (PREPROCESSING, PROBLEM_TYPE, CLASSIFIER)
"""Assumptions that no answer of a library's model confirms: it has neither them nor a softmax."""


def find_assumptions(
    spec: "VitSpec", family: "Family", settled: Collection[str], note: str
) -> dict[str, Any]:
    """Return the assumptions that a reading rests on, by the names that users type.

    Args:
        spec: the spec of the model.
        family: its conventions gave the fields that are not settled.
        settled: names of the fields that the tensors show, or that something else records.
        note: the note on the preprocessing.
    """
    known = {*settled, *family.fixed}
    assumed = {KEYS[name]: getattr(spec, name) for name in KEYS if name not in known}
    if "trained_size" in assumed:
        assumed["trained_size"] = _format_size(spec.image_size)
    if spec.rotary is None:
        assumed.pop("rotary", None)
    elif "rotary" in assumed:
        assumed["rotary"] = spec.rotary.describe()
    if family.block and BLOCK not in known:
        assumed[BLOCK] = family.block
    if family.replaced_head:
        assumed[CLASSIFIER] = family.replaced_head
    if note.startswith(ASSUMED):
        assumed[PREPROCESSING] = f"default of {family.name}"
    return assumed


def check_settled(model: "Model", where: str) -> None:
    """Raise RequestError unless nothing is assumed; the fix names an option for each assumption."""
    assumed, steps = model.assumed, model.preprocessing
    if not assumed:
        return
    options = [QUESTIONS[name].format(value) for name, value in assumed.items()]
    if PREPROCESSING in assumed and steps is not None:
        mean, std = (",".join(map(str, row)) for row in (steps.mean, steps.std))
        resize = steps.resize if isinstance(steps.resize, int) else _format_size(steps.resize)
        options.append(f"--mean {mean} --std {std} --resize {resize}")
    message = f"{where}: nothing records {describe_assumptions(assumed)}; this would be assumed."
    listing = " ".join(filter(None, options))
    raise RequestError(message, f"confirm or correct: {listing}; or leave --strict out.")


def _format_size(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def describe_assumptions(assumed: Mapping[str, Any]) -> str:
    """Return the assumptions with their values, as one phrase."""
    return ", ".join(f"{name} {assumed[name]}" for name in QUESTIONS if name in assumed)


def list_options(assumed: Mapping[str, Any]) -> list[str]:
    """Return the options that settle the assumptions, without values."""
    return [QUESTIONS[name].partition(" {")[0] for name in assumed]


def list_caveats(assumed: Mapping[str, Any], *, answers_scores: bool) -> list[str]:
    """Return the caveat of a proof whose model rests on assumptions; no element without any.

    The problem type counts if the file answers scores: logits do not depend on it.
    """
    other = NO_READING if answers_scores else UNCHECKED
    names = [name for name in QUESTIONS if name in assumed and name not in other]
    return [f"reading assumed: {', '.join(names)}"] if names else []
