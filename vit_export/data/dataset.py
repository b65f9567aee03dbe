"""A user's images, known to be readable, with the class of each where that is said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, counted
from vit_export.data.annotations import Annotated
from vit_export.data.classes import class_of
from vit_export.data.images import read_batches, read_input
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.vit.spec import VitSpec
from vit_export.validation.metrics import Skipped

MOST_UNREADABLE = 0.1
"""Of all images. With more, something is wrong with the set: its accuracy would be another's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images to judge on. N of them, at least one; none is held in memory."""

    folder: Path
    steps: Preprocessing
    paths: tuple[Path, ...]
    labels: tuple[int, ...] | None
    """The class of each; None where nothing is said, or the model has no classes."""
    unreadable: Skipped
    unlabelled: Skipped

    def name(self, index: int) -> str:
        """An image's name, as it stands in the folder."""
        return self.paths[index].relative_to(self.folder).as_posix()

    def batches(self, size: int) -> Iterator[Array]:
        """All inputs, (B, C, H, W) at a time; the last batch may be smaller than `size`."""
        return read_batches(self.paths, self.steps, size)


def image_set(
    given: Annotated | None,
    spec: VitSpec,
    steps: Preprocessing | None,
    names: Sequence[str],
    progress: Progress,
) -> ImageSet | None:
    """The images of `given` that can be read, with classes of a model that has `names` for them.

    Raises:
        RequestError: no preprocessing, a label that is no class, or more than a tenth unreadable.
    """
    if given is None:
        return None
    if steps is None:
        raise RequestError("The model has no preprocessing for images.", "leave --images out.")
    labels = _labels(given, spec, names)
    with progress(f"read {len(given.paths)} images") as tell:
        paths = counted(given.paths, len(given.paths), tell)
        reasons = [_reason(path, steps) for path in paths]
    _check_readable(given, [reason for reason in reasons if reason])
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    lost = [path for path, reason in zip(given.paths, reasons, strict=True) if reason]
    return ImageSet(
        folder=given.folder,
        steps=steps,
        paths=tuple(given.paths[i] for i in kept),
        labels=None if labels is None else tuple(labels[i] for i in kept),
        unreadable=Skipped.of(lost, given.folder),
        unlabelled=Skipped.of(given.unlabelled, given.folder),
    )


def _labels(given: Annotated, spec: VitSpec, names: Sequence[str]) -> list[int] | None:
    if given.said is None:
        return None
    if spec.classes is None:
        if given.labels_csv is None:  # sub-folders need not mean anything
            return None
        message = f"The model answers {spec.answer}, and has no classes for {given.labels_csv}."
        raise RequestError(message, "leave --labels-csv out.")
    known = {
        said: class_of(said, names, spec.classes, where) for said, where in given.where.items()
    }
    return [known[said] for said in given.said]


def _reason(path: Path, steps: Preprocessing) -> RequestError | None:
    """Why an image can't be read; the whole of it is decoded, as it may be cut off anywhere."""
    try:
        read_input(path, steps)
    except RequestError as error:
        return error
    return None


def _check_readable(given: Annotated, reasons: Sequence[RequestError]) -> None:
    if len(reasons) > MOST_UNREADABLE * len(given.paths):
        lost = f"{len(reasons)} of {len(given.paths)} images in {given.folder} can't be read"
        fix = f"repair or remove them; up to {MOST_UNREADABLE:.0%} are left out and named."
        raise RequestError(f"{lost}: {reasons[0].message}", fix)
