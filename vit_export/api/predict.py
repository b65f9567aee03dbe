"""Images to class names, through the preprocessing that an artifact carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import TOP, rank_classes
from vit_export.backends.session import Session
from vit_export.core.errors import ProofError, RequestError
from vit_export.data.images import read_input, read_pixels


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
    if not manifest.signature.classifies:
        raise RequestError(
            f"{manifest.model} has no classes: it answers {manifest.signature.answer}.",
            "use run().",
        )
    if manifest.preprocessing is None:
        raise RequestError(
            f"{manifest.model} came without preprocessing.",
            "export it with --mean and --std, or from a TOML that has it.",
        )
    if manifest.head == "top5" and top > TOP:
        message = f"The file answers {TOP} classes, not {top}."
        raise RequestError(message, "export it with --head softmax.")
    read = read_pixels if manifest.takes_pixels else read_input
    inputs = [read(path, manifest.preprocessing) for path in images]
    found = []
    for path, image in zip(images, inputs, strict=True):
        answer = session.run(np.stack([image] * manifest.batch.least))[0]
        if not np.isfinite(answer).all():
            raise ProofError(f"{path}: the answer is not finite.", "vit-export validate ARTIFACT")
        classes, probabilities = rank_classes(manifest.head, answer)
        names = (manifest.labels[i] if manifest.labels else f"class {i}" for i in classes[:top])
        found.append(Prediction(str(path), tuple(names), tuple(probabilities[:top])))
    return found
