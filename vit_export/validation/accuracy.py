"""Accuracy on the user's images: eager PyTorch answers them first, then the artifact.

Memory does not grow with the number of images: they are read twice, one batch at a time, and the
answers of eager PyTorch wait in a temporary file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.output_signals import OutputSignals
from vit_export.artifact.outputs import (
    OutputFormat,
    apply_head,
    find_likely_classes,
    find_top_class,
)
from vit_export.backends.module_session import ModuleSession
from vit_export.backends.session import Session
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, track
from vit_export.data.dataset import ImageDataset
from vit_export.data.images import read_pixels
from vit_export.validation.metrics import AccuracyReport, Proportion
from vit_export.validation.verdict import Verdict

if TYPE_CHECKING:  # torch is heavy, and an artifact answers without it
    from torch import nn

Classes = npt.NDArray[np.int64]
"""The top class of each image."""

BATCH = 16
MOST_SCORES = 2**20
"""Most attention scores of one head in a batch; a model of many tokens gets smaller batches."""
SPOOL_BYTES = 64 * 2**20
"""Answers stay in memory up to this size, and go to disk beyond."""
NO_CLASS = -1
"""The top class of an answer that is not finite."""


class AccuracyEvaluation:
    """The user's images, with eager PyTorch's answers until the artifact has answered too."""

    def __init__(self, images: ImageDataset | None, tokens: int | None) -> None:
        """Without `images` the evaluation does nothing.

        The number of `tokens` of an image limits the batch size; None for a model without tokens.
        """
        self._images = images
        self._batch_size = _choose_batch_size(tokens)
        self._eager = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 closed by __exit__
        self._eager_batches = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._eager.close()

    def run_eager(self, module: "nn.Module", progress: Progress) -> None:
        """Store the answers of `module`, which need not stay in memory afterwards."""
        if self._images is None:
            return
        session = ModuleSession(module)
        count, size = len(self._images.paths), self._batch_size
        with progress(f"answer {count} images in eager PyTorch") as report_share:
            for inputs in track(self._images.batches(size), -(-count // size), report_share):
                np.save(self._eager, session.run(inputs))
                self._eager_batches += 1

    def run_artifact(
        self, verdict: Verdict, session: Session, manifest: Manifest, progress: Progress
    ) -> Verdict:
        """Return `verdict` with the accuracy report of its artifact, which is open in `session`.

        A rejected artifact gets no report: it would be that of another model.
        """
        images = self._images
        if images is None or not verdict.accepted:
            return verdict
        eager = self._read_eager() if self._eager_batches else repeat(None, len(images.paths))
        with progress(f"evaluate {len(images.paths)} images") as report_share:
            answers = _run_images(session, images, manifest, self._batch_size)
            answers = track(answers, len(images.paths), report_share)
            # images are held against the same signal as the samples of the proof
            signals = OutputSignals.measure(
                manifest.reference, manifest.signature, manifest.output_head
            )
            results = [
                _compare(manifest, answer, expected, signals)
                for answer, expected in zip(answers, eager, strict=True)
            ]
        report = _make_report(images, results, has_top_class=manifest.exclusive_classes is not None)
        return replace(verdict, images=report)

    def _read_eager(self) -> Iterator[Array]:
        """Yield the answers of eager PyTorch, one image at a time."""
        self._eager.seek(0)
        for _ in range(self._eager_batches):
            yield from np.load(self._eager)


def _choose_batch_size(tokens: int | None) -> int:
    return BATCH if tokens is None else max(1, min(BATCH, MOST_SCORES // tokens**2))


def _run_images(
    session: Session, images: ImageDataset, manifest: Manifest, size: int
) -> Iterator[Array]:
    """Yield the answers of the artifact, one image at a time, from batches of about `size`.

    A batch that is too small for the artifact is padded with copies of its last image.
    """
    batch = manifest.batch
    if manifest.takes_pixels:  # images of any size: no two of them fit into one array
        for path in images.paths:
            yield session.run(np.stack([read_pixels(path, images.preprocessing)] * batch.min))[0]
        return
    for inputs in images.batches(batch.nearest(size)):
        padding = [inputs[-1:]] * max(0, batch.min - len(inputs))
        yield from session.run(np.concatenate([inputs, *padding]))[: len(inputs)]


@dataclass(frozen=True, slots=True)
class _Result:
    """The answers to one image, compared; without an eager model only `after` is known."""

    after: int
    """Top class of the artifact."""
    before: int | None
    """Top class of eager PyTorch."""
    snr_db: float | None
    same_classes: bool | None = None
    """Whether the same classes are likely; None unless each has a probability of its own."""


def _compare(
    manifest: Manifest, answer: Array, eager: Array | None, signals: OutputSignals
) -> _Result:
    logits = manifest.signature.find_logits(answer)
    after = _find_class(manifest.head, logits)
    if eager is None:
        return _Result(after, None, None)
    right = manifest.signature.find_logits(eager)
    same = (
        _compare_likely(manifest, logits, right) if manifest.score_function == "sigmoid" else None
    )
    worst_db = signals.find_worst_snr_db(eager, answer)
    return _Result(after, _find_class("logits", right), worst_db, same)


def _compare_likely(manifest: Manifest, answer: Array, eager: Array) -> bool:
    """Return whether the same classes have at least 50%; an answer with NaN never agrees."""
    head = manifest.output_head
    expected = find_likely_classes(head, apply_head(head, eager))
    return bool(np.isfinite(answer).all()) and find_likely_classes(head, answer) == expected


def _find_class(output_format: OutputFormat, answer: Array) -> int:
    """Return the top class or NO_CLASS; for features and tokens, where the largest number is."""
    return find_top_class(output_format, answer) if np.isfinite(answer).all() else NO_CLASS


def _make_report(
    images: ImageDataset, results: Sequence[_Result], *, has_top_class: bool
) -> AccuracyReport:
    has_eager = results[0].before is not None
    after = np.array([one.after for one in results])
    before = np.array([one.before for one in results]) if has_eager else None
    snr = [one.snr_db for one in results if one.snr_db is not None]
    worst = int(np.argmin(snr)) if has_eager else None
    return AccuracyReport(
        folder=str(images.folder),
        count=len(results),
        accuracy_before=_count_right(before, images.labels),
        accuracy_after=_count_right(after, images.labels),
        agreement=_count_equal(before, after) if has_top_class else None,
        same_classes=_count_same(results),
        worst_snr_db=None if worst is None else snr[worst],
        worst_image=None if worst is None else images.name(worst),
        not_finite=int((after == NO_CLASS).sum()),
        unreadable=images.unreadable,
        unlabelled=images.unlabelled,
        not_images=images.not_images,
    )


def _count_right(classes: Classes | None, labels: Sequence[int] | None) -> Proportion | None:
    if classes is None or labels is None:
        return None
    return Proportion(int((classes == np.array(labels)).sum()), len(labels))


def _count_same(results: Sequence[_Result]) -> Proportion | None:
    same = [one.same_classes for one in results if one.same_classes is not None]
    return Proportion(sum(same), len(same)) if same else None


def _count_equal(before: Classes | None, after: Classes) -> Proportion | None:
    if before is None:
        return None
    return Proportion(int(((before == after) & (after != NO_CLASS)).sum()), len(after))
