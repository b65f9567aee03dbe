"""A user's readable images, each with its class if the user labelled them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, track
from vit_export.data.annotations import Annotations
from vit_export.data.image_folder import SkippedImages
from vit_export.data.images import read_batches, read_input
from vit_export.data.labels import find_class
from vit_export.data.preprocessing import Preprocessing, check_reads_files

MAX_UNREADABLE = 0.1
"""Maximum share of unreadable images: beyond it, the rest does not represent the dataset."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageDataset:
    """At least one image to compute accuracy on. No image is kept in memory."""

    folder: Path
    preprocessing: Preprocessing
    paths: tuple[Path, ...]
    labels: tuple[int, ...] | None
    """Class of each image; None without labels, or if the model does not answer one class."""
    unreadable: SkippedImages
    unlabelled: SkippedImages
    not_images: SkippedImages

    def name(self, index: int) -> str:
        """Return the name of one image, relative to the folder."""
        return self.paths[index].relative_to(self.folder).as_posix()

    def batches(self, size: int) -> Iterator[Array]:
        """Yield all inputs, (B, C, H, W) each; the last batch may be smaller than `size`."""
        return read_batches(self.paths, self.preprocessing, size)


def open_dataset(
    annotations: Annotations | None,
    preprocessing: Preprocessing | None,
    *,
    answer: str,
    classes: int | None,
    names: Sequence[str],
    progress: Progress,
) -> ImageDataset | None:
    """Return the images that can be read, each with the index of its class.

    It reads every file once. It returns None without `annotations`.

    Args:
        annotations: the image files and their labels.
        preprocessing: that of the model; None if it has none.
        answer: what the model answers, in words for errors.
        classes: number of classes of which each image has one; None for other models.
        names: names of the classes in order; empty if they have none.
        progress: shows the reading of the files.

    Raises:
        RequestError: the model has no preprocessing, a label is no class of the model, or more than
            a tenth of the images can't be read.
    """
    if annotations is None:
        return None
    if preprocessing is None:
        raise RequestError("The model has no preprocessing for images.", "leave --images out.")
    check_reads_files(preprocessing, "leave --images out.")
    labels = _find_classes(annotations, answer, classes, names)
    with progress(f"read {len(annotations.paths)} images") as report_share:
        paths = track(annotations.paths, len(annotations.paths), report_share)
        errors = [_try_to_read(path, preprocessing) for path in paths]
    _check_readable(annotations, [error for error in errors if error])
    readable = [i for i, error in enumerate(errors) if error is None]
    unreadable = [path for path, error in zip(annotations.paths, errors, strict=True) if error]
    return ImageDataset(
        folder=annotations.folder,
        preprocessing=preprocessing,
        paths=tuple(annotations.paths[i] for i in readable),
        labels=None if labels is None else tuple(labels[i] for i in readable),
        unreadable=SkippedImages.from_paths(unreadable, annotations.folder),
        unlabelled=SkippedImages.from_paths(annotations.unlabelled, annotations.folder),
        not_images=SkippedImages.from_paths(annotations.not_images, annotations.folder),
    )


def _find_classes(
    annotations: Annotations, answer: str, classes: int | None, names: Sequence[str]
) -> list[int] | None:
    if annotations.labels is None:
        return None
    if classes is None:
        if annotations.labels_csv is None:  # sub-folders need not mean anything
            return None
        message = f"The model answers {answer}, not one class as in {annotations.labels_csv}."
        raise RequestError(message, "leave --labels-csv out.")
    indices = {
        label: find_class(label, names, classes, where)
        for label, where in annotations.origins.items()
    }
    return [indices[label] for label in annotations.labels]


def _try_to_read(path: Path, preprocessing: Preprocessing) -> RequestError | None:
    """Decode a whole image, as any part may be damaged; return the error, or None."""
    try:
        read_input(path, preprocessing)
    except RequestError as error:
        return error
    return None


def _check_readable(annotations: Annotations, errors: Sequence[RequestError]) -> None:
    """Raise RequestError unless most images can be read."""
    count, folder = len(annotations.paths), annotations.folder
    if len(errors) > MAX_UNREADABLE * count:
        message = f"{len(errors)} of {count} images in {folder} can't be read"
        fix = f"repair or remove them; up to {MAX_UNREADABLE:.0%} are left out and named."
        raise RequestError(f"{message}: {errors[0].message}", fix)
