"""Whether a proof on given answers could fail at all: the model's own noise and its dependence.

A proof tells a right file from a wrong one only if the model's answers differ between images by far
more than its own rounding moves them.
"""

import math

import numpy as np

from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.errors import ProofError
from vit_export.core.numerics import measure_signal
from vit_export.model.signature import Signature
from vit_export.validation.tolerances import TOLERANCES

CONSTANT = "its answers do not depend on the image"
MAX_NOISE_SHARE = 10 ** (-(TOLERANCES["fp32"].least_snr_db or 0) / 20)
"""Largest noise floor as a share of the signal: the minimum SNR that fp32 files keep."""
NUMBERS_FIX = (
    "look for numbers of extreme size, and for a norm or a division of values that are nearly "
    "equal; no file of this model can be proven"
)


def check_reference(reference: Reference, signature: Signature) -> None:
    """Raise ProofError unless a file can be proven against these answers.

    Raises:
        ProofError: an answer is not finite, or the model's own rounding hides other answers.
    """
    for recipe, answer in zip(reference.recipes, reference.answers, strict=True):
        if not np.isfinite(answer).all():
            message = f"The model's own answer to {recipe} is not finite."
            raise ProofError(message, "check the weights: a number overflows, or is not finite.")
    for noise in list_noise(reference, signature):
        raise ProofError(f"{noise[0].upper()}{noise[1:]}.", f"{NUMBERS_FIX}.")


def list_noise(reference: Reference, signature: Signature) -> list[str]:
    """Return a sentence for each output whose rounding noise is too large a share of it."""
    outputs = reference.split(signature)
    noise = [(output, find_noise(one)) for output, one in outputs]
    return [f"{one} in {name.name}" if signature.is_joined else one for name, one in noise if one]


def find_noise(reference: Reference) -> str:
    """Return a sentence if the model's own rounding noise is too large a share of its answer.

    It is empty for other models, and for those whose answers do not depend on the image.
    """
    signal, floor = measure_signal(reference.answers), max(reference.floors, default=0.0)
    if is_constant(reference) or floor <= MAX_NOISE_SHARE * signal:
        return ""
    share = 100 * floor / signal if signal > 0 else math.inf
    worst = reference.recipes[reference.floors.index(floor)]
    return f"this model's own rounding noise is {share:.2g} % of its answer to {worst}"


def is_constant(reference: Reference) -> bool:
    """Return whether the answers differ between images by no more than rounding allows.

    A model is not constant if rounding is large beside the answers themselves: it is noisy.
    """
    answers, floor = reference.answers, max(reference.floors, default=0.0)
    largest = float(np.abs(answers).max(initial=0))
    rounding = TOLERANCES["fp32"].floors * floor + float(np.finfo(np.float32).eps) * largest
    return not largest or measure_signal(answers) <= rounding <= MAX_NOISE_SHARE * largest


def loosen_for_constant(tolerance: Tolerance, reference: Reference) -> Tolerance:
    """Return the tolerance for a model whose answers have no signal: rounding alone is allowed."""
    return TOLERANCES["fp32"].without_snr() if is_constant(reference) else tolerance
