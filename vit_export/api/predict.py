"""Answers image files with an artifact and the preprocessing that it carries."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import TOP, check_answer_shape, infer_output_shape, read_scores
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.core.errors import ProofError, RequestError
from vit_export.core.numerics import Array
from vit_export.data.images import read_input, read_pixels
from vit_export.data.preprocessing import Preprocessing, check_reads_files
from vit_export.model.score_function import ScoreFunction


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, the best first; or the numbers of a regression."""

    image: str
    classes: tuple[str, ...]
    """Names of the classes; for a regression, names of its numbers in the model's order."""
    probabilities: tuple[float, ...]
    """The probability of each class; empty for a regression."""
    values: tuple[float, ...] = ()
    """The numbers of a regression; empty for other models."""
    score_function: ScoreFunction = "softmax"
    """softmax: the probabilities of all classes sum to 1. sigmoid: each class has a probability of
    its own. none: the model is a regression."""


@dataclass(frozen=True)
class UnreadableImage:
    """An image without a prediction, and the reason."""

    image: str
    error: RequestError


def predict(
    artifact: str | Path,
    images: Sequence[str | Path],
    *,
    top: int = 5,
    skip_bad: bool = False,
    threads: int | None = None,
    trust: bool = False,
) -> list[Prediction]:
    """Classify each image, and return the most probable classes in the order of `images`.

    The scores are those of transformers' `ImageClassificationPipeline`: a softmax, a sigmoid for a
    multi-label model or a single class, and plain numbers for a regression. Each image runs alone,
    at the smallest batch size that the file takes. ONNX files need no torch.

    Args:
        artifact: a file that vit-export wrote.
        images: image files of any size.
        top: how many classes, at least 1; a regression answers all its numbers.
        skip_bad: leave out images that cannot be read, in place of an error.
        threads: intra-op threads of the runtime; None for the runtime's default.
        trust: whether code in the file may run, where its kind of file holds code.

    Raises:
        RequestError: vit-export did not write the file, it has no classes or no preprocessing, or
            an image cannot be read.
        MissingError: the file's runtime is not installed.
        ProofError: an answer is not finite.
    """
    predictions = []
    for result in Predictor(artifact, top=top, threads=threads, trust=trust).classify(images):
        if isinstance(result, Prediction):
            predictions.append(result)
        elif not skip_bad:
            raise result.error
    return predictions


class Predictor:
    """An open artifact that classifies images one at a time: memory does not grow with them.

    Args:
        artifact: a file that vit-export wrote.
        top: how many classes, at least 1.
        threads: intra-op threads of the runtime; None for the runtime's default.
        trust: whether code in the file may run, where its kind of file holds code.

    Raises:
        RequestError: vit-export did not write the file, or it has no classes or no preprocessing.
        MissingError: the file's runtime is not installed.
    """

    def __init__(self, artifact: str | Path, *, top: int, threads: int | None, trust: bool) -> None:
        if top < 1:
            raise RequestError(f"top is {top}.", "give 1 or more.")
        self._path, self._top = Path(artifact), top
        self._session = open_artifact(self._path, threads, trust=trust)
        self._manifest = read_manifest(self._session, self._path)
        self._preprocessing = _require_preprocessing(self._manifest, top)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes; empty if the file has none."""
        return tuple(self._manifest.labels)

    @property
    def score_function(self) -> ScoreFunction:
        """What makes scores of the model's logits."""
        return self._manifest.score_function

    def classify(self, images: Iterable[str | Path]) -> Iterator[Prediction | UnreadableImage]:
        """Yield the result of each image as soon as it is there.

        Raises:
            ProofError: an answer is not finite, or has another shape than the manifest says.
        """
        read = read_pixels if self._manifest.takes_pixels else read_input
        for file in map(Path, images):
            try:
                image = read(file, self._preprocessing)
            except RequestError as error:
                yield UnreadableImage(str(file), error)
            else:
                yield self._classify(file, image)

    def _classify(self, file: Path, image: npt.NDArray[Any]) -> Prediction:
        answer = self._session.run(np.stack([image] * self._manifest.batch.min))[0]
        expected = infer_output_shape(self._manifest.head, self._manifest.signature.answer_shape)
        check_answer_shape(str(self._path), answer.shape, expected)
        if not np.isfinite(answer).all():
            fix = f"vit-export validate {self._path}"
            raise ProofError(f"{file}: the answer is not finite.", fix)
        return _name_classes(file, answer, self._manifest, self._top)


def _require_preprocessing(manifest: Manifest, top: int) -> Preprocessing:
    """Return the file's preprocessing; raise RequestError unless it answers `top` classes."""
    if not manifest.signature.takes_images:
        shape = "x".join(map(str, manifest.signature.sample_shape))
        message = f"{manifest.model} takes no images: its input is {shape}."
        raise RequestError(message, "run it in its runtime.")
    if not manifest.signature.classifies:
        message = f"{manifest.model} has no classes: it answers {manifest.signature.answer}."
        fix = "export it with its classifier, or run it in its runtime."
        if manifest.spec is None:
            fix = "export it with --problem-type if its answer is logits, or run it in its runtime."
        raise RequestError(message, fix)
    if manifest.preprocessing is None:
        raise RequestError(
            f"{manifest.model} came without preprocessing.",
            "export it with --mean and --std, or from a TOML that has it.",
        )
    check_reads_files(manifest.preprocessing, "give arrays to the file in its own runtime.")
    if manifest.head == "top5" and top > TOP:
        message = f"The file answers {TOP} classes, not {top}."
        raise RequestError(message, f"export it with --head {manifest.score_function}.")
    return manifest.preprocessing


def _name_classes(file: Path, answer: Array, manifest: Manifest, top: int) -> Prediction:
    function, logits = manifest.score_function, manifest.signature.find_logits(answer)
    classes, scores = read_scores(manifest.output_head, function, logits)
    if function == "none":
        names = _name_outputs(manifest.labels, "output", classes)
        return Prediction(str(file), names, (), tuple(scores), function)
    names = _name_outputs(manifest.labels, "class", classes[:top])
    return Prediction(str(file), names, tuple(scores[:top]), (), function)


def _name_outputs(labels: Sequence[str], kind: str, indices: Iterable[int]) -> tuple[str, ...]:
    return tuple(labels[i] if labels else f"{kind} {i}" for i in indices)
