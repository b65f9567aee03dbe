"""Images to class names, through the preprocessing that an artifact carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_export.errors import ProofError, RequestError
from vit_export.manifest import Array, Manifest
from vit_export.runtimes.base import Session
from vit_export.vit.preprocess import load_image, preprocess


@dataclass(frozen=True)
class Prediction:
    """One image's most probable classes, best first."""

    image: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def predict_images(
    session: Session, manifest: Manifest, images: Sequence[Path], top: int
) -> list[Prediction]:
    """One prediction per image, in order; each image is run alone, at the least batch size.

    Raises:
        RequestError: no classifier, no preprocessing, or a file that is no image.
        ProofError: the answer is not finite.
    """
    if not manifest.spec.classifies:
        raise RequestError(
            f"{manifest.model} has no classes: it answers {manifest.spec.answer}.", "use run()."
        )
    if manifest.preprocessing is None:
        raise RequestError(
            f"{manifest.model} came without preprocessing.", "export it from a TOML that has it."
        )
    steps = manifest.preprocessing
    inputs = [preprocess(load_image(path, steps.mode), steps) for path in images]
    found = []
    for path, image in zip(images, inputs, strict=True):
        logits = session.run(np.stack([image] * manifest.batch.least))[0]
        if not np.isfinite(logits).all():
            raise ProofError(f"{path}: the answer is not finite.", "vit-export validate ARTIFACT")
        found.append(_best(path, logits, manifest.labels, top))
    return found


def _best(path: Path, logits: Array, labels: Sequence[str], top: int) -> Prediction:
    exponential = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = exponential / exponential.sum()
    order = np.argsort(-probabilities, kind="stable")[:top]
    names = tuple(labels[i] if labels else f"class {i}" for i in order)
    return Prediction(str(path), names, tuple(float(probabilities[i]) for i in order))
