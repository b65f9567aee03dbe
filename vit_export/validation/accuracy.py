"""A user's images, answered by eager PyTorch and by the artifact: first one, later the other.

Memory does not grow with the number of images: they are read twice, a batch at a time, and what
eager PyTorch answered waits in a file of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import align_for_comparison, find_top_class
from vit_export.backends.module_session import ModuleSession
from vit_export.backends.session import Session
from vit_export.core.numerics import Array, snr_db
from vit_export.core.progress import Progress, counted
from vit_export.data.dataset import ImageDataset
from vit_export.data.images import read_pixels
from vit_export.validation.metrics import Judgement, Share
from vit_export.validation.verdict import Verdict

if TYPE_CHECKING:  # torch is heavy, and an artifact is asked without it
    from vit_export.model.vit.vit import Vit

Tops = npt.NDArray[np.int64]
"""The top class of each image."""

USUAL_BATCH = 16
MOST_SCORES = 2**20
"""Of an attention head, over a batch: a model of many more tokens than 197 sees fewer at once."""
SPOOL_BYTES = 64 * 2**20
"""Answers stay in memory up to here, and go to disk beyond."""
NO_CLASS = -1
"""What an answer says that is not finite."""


class Examination:
    """The images, and eager PyTorch's answers to them until the artifact has answered too."""

    def __init__(self, images: ImageDataset | None) -> None:
        """Without `images` nobody is asked anything."""
        self._images = images
        self._kept = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 closed by __exit__
        self._batches = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._kept.close()

    def ask_eager(self, vit: "Vit", progress: Progress) -> None:
        """Keeps the answers of `vit`, which need not live any longer."""
        if self._images is None:
            return
        session = ModuleSession(vit)
        count, size = len(self._images.paths), _size(vit.spec.tokens)
        with progress(f"answer {count} images in eager PyTorch") as tell:
            for inputs in counted(self._images.batches(size), -(-count // size), tell):
                np.save(self._kept, session.run(inputs))
                self._batches += 1

    def judged(
        self, verdict: Verdict, session: Session, manifest: Manifest, progress: Progress
    ) -> Verdict:
        """`verdict`, with what its artifact, open in `session`, is worth on the images.

        What is rejected is not asked: it would be the worth of another model.
        """
        images = self._images
        if images is None or not verdict.accepted:
            return verdict
        before = self._before() if self._batches else repeat(None, len(images.paths))
        with progress(f"judge on {len(images.paths)} images") as tell:
            after = counted(_answers(session, images, manifest), len(images.paths), tell)
            looks = [_look(manifest.head, *both) for both in zip(after, before, strict=True)]
        return replace(
            verdict, images=_judgement(images, looks, classifies=manifest.signature.classifies)
        )

    def _before(self) -> Iterator[Array]:
        """What eager PyTorch answered, an image at a time."""
        self._kept.seek(0)
        for _ in range(self._batches):
            yield from np.load(self._kept)


def _size(tokens: int) -> int:
    return max(1, min(USUAL_BATCH, MOST_SCORES // tokens**2))


def _answers(session: Session, images: ImageDataset, manifest: Manifest) -> Iterator[Array]:
    """What the artifact answers, an image at a time; the last one is repeated to fill a batch."""
    batch = manifest.batch
    if manifest.takes_pixels:  # of any size each, so that no two of them make a batch
        for path in images.paths:
            yield session.run(np.stack([read_pixels(path, images.preprocessing)] * batch.least))[0]
        return
    for inputs in images.batches(batch.nearest(_size(manifest.require_spec().tokens))):
        lacking = max(0, batch.least - len(inputs))
        filled = np.concatenate([inputs, *[inputs[-1:]] * lacking])
        yield from session.run(filled)[: len(inputs)]


@dataclass(frozen=True, slots=True)
class _Look:
    """What is kept of the answers to one image; without an eager model there is no `before`."""

    after: int
    before: int | None
    snr_db: float | None


def _look(head: str, after: Array, before: Array | None) -> _Look:
    if before is None:
        return _Look(_top(after, head), None, None)
    return _Look(
        _top(after, head), _top(before), snr_db(*align_for_comparison(head, before, after))
    )


def _top(answer: Array, head: str = "logits") -> int:
    """The top class, or NO_CLASS; the largest number of an answer that is no logits."""
    return find_top_class(head, answer) if np.isfinite(answer).all() else NO_CLASS


def _judgement(images: ImageDataset, looks: Sequence[_Look], *, classifies: bool) -> Judgement:
    asked = looks[0].before is not None
    after = np.array([look.after for look in looks])
    before = np.array([look.before for look in looks]) if asked else None
    snr = [look.snr_db for look in looks if look.snr_db is not None]
    worst = int(np.argmin(snr)) if asked else None
    return Judgement(
        folder=str(images.folder),
        count=len(looks),
        accuracy_before=_accuracy(before, images.labels),
        accuracy_after=_accuracy(after, images.labels),
        agreement=_agreement(before, after) if classifies else None,
        worst_snr_db=None if worst is None else snr[worst],
        worst_image=None if worst is None else images.name(worst),
        not_finite=int((after == NO_CLASS).sum()),
        unreadable=images.unreadable,
        unlabelled=images.unlabelled,
    )


def _accuracy(tops: Tops | None, labels: Sequence[int] | None) -> Share | None:
    if tops is None or labels is None:
        return None
    return Share(int((tops == np.array(labels)).sum()), len(labels))


def _agreement(before: Tops | None, after: Tops) -> Share | None:
    if before is None:
        return None
    return Share(int(((before == after) & (after != NO_CLASS)).sum()), len(after))
