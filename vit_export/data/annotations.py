"""Labels of the images in a folder, from the names of its sub-folders or from a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from vit_export.core.errors import RequestError
from vit_export.data.image_folder import ImageFolder, scan_folder
from vit_export.data.text_file import read_text

COLUMNS = 2
MAX_CSV_BYTES = 2**26
"""64 MiB: a million rows."""


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The paths of image files and their labels. No image is opened."""

    folder: Path
    paths: tuple[Path, ...]
    labels: tuple[str, ...] | None
    """Class of each of `paths`, by name or index; None if no image has a label."""
    origins: Mapping[str, str]
    """The place where each label first occurs, for errors."""
    unlabelled: tuple[Path, ...] = ()
    """Images without a label, in a folder where others have one."""
    not_images: tuple[Path, ...] = ()
    """Files of the folder that are no images."""
    labels_csv: Path | None = None


@dataclass(frozen=True, slots=True)
class _LabelRow:
    """One row of a CSV file."""

    line: int
    """Number of its last line in the file."""
    name: str
    label: str


def read_annotations(
    images: str | Path | None, labels_csv: str | Path | None
) -> Annotations | None:
    """Return the images in a folder, labelled by `labels_csv` or else by sub-folder.

    Args:
        images: the folder; None returns None.
        labels_csv: a file with the name and the class of one image per row.

    Raises:
        RequestError: the folder holds no images, there is a CSV without a folder, or the CSV can't
            be read, is malformed, or names a file outside the folder.
    """
    if images is None:
        if labels_csv is not None:
            message = f"{labels_csv} labels images, but no images are named."
            raise RequestError(message, "give --images DIR too.")
        return None
    folder = Path(images)
    content = scan_folder(folder)
    if labels_csv is None:
        return _label_by_folder(folder, content)
    return _label_by_csv(folder, content, Path(labels_csv))


def _label_by_folder(folder: Path, content: ImageFolder) -> Annotations:
    """Take the outermost sub-folders as labels; without sub-folders there are no labels."""
    paths, not_images = content.images, content.not_images
    inner = [path for path in paths if path.parent != folder]
    if not inner:
        return Annotations(
            folder=folder, paths=paths, labels=None, origins={}, not_images=not_images
        )
    labels = tuple(path.relative_to(folder).parts[0] for path in inner)
    return Annotations(
        folder=folder,
        paths=tuple(inner),
        labels=labels,
        origins={label: str(folder / label) for label in labels},
        unlabelled=tuple(path for path in paths if path.parent == folder),
        not_images=not_images,
    )


def _label_by_csv(folder: Path, content: ImageFolder, labels_csv: Path) -> Annotations:
    labels: dict[Path, str] = {}
    origins: dict[str, str] = {}
    rows = _read_rows(labels_csv)
    for row in rows[_has_header(rows, folder) :]:
        name, label = row.name, row.label
        path, origin = folder / name, f"{labels_csv} line {row.line}"
        if not _is_file_in(folder, name):
            message = f"{origin}: {name} is no file in {folder}."
            raise RequestError(message, "give names relative to that folder, or drop the row.")
        if labels.setdefault(path, label) != label:
            message = f"{origin}: {name} is {label!r}, and {labels[path]!r} further up."
            raise RequestError(message, "keep one row per image.")
        origins.setdefault(label, origin)
    if not labels:
        raise RequestError(f"{labels_csv} labels no image.", "give rows of file name and class.")
    return Annotations(
        folder=folder,
        paths=tuple(sorted(labels)),
        labels=tuple(labels[path] for path in sorted(labels)),
        origins=origins,
        unlabelled=tuple(path for path in content.images if path not in labels),
        not_images=tuple(
            path
            for path in content.not_images
            if path not in labels and path.absolute() != labels_csv.absolute()
        ),
        labels_csv=labels_csv,
    )


def _is_file_in(folder: Path, name: str) -> bool:
    try:
        return not Path(name).is_absolute() and (folder / name).is_file()
    except OSError:  # a name that is too long
        return False


def _has_header(rows: Sequence[_LabelRow], folder: Path) -> bool:
    """Return whether the first row names columns: neither a file nor a class that occurs below."""
    if not rows or _is_file_in(folder, rows[0].name):
        return False
    first = rows[0]
    if Path(first.name).suffix or first.label.isdecimal():
        return False  # the row of a missing image
    return all(row.label != first.label for row in rows[1:])


def _read_rows(path: Path) -> list[_LabelRow]:
    """Return all rows of a CSV file, a header among them."""
    lines = StringIO(read_text(path, MAX_CSV_BYTES))  # splitlines would end lines at U+2028 too
    try:
        reader = csv.reader(lines, skipinitialspace=True, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise RequestError(f"{path} can't be read: {error}.", "save it as CSV, UTF-8.") from None
    return [_check_row(path, line, row) for line, row in rows]


def _check_row(path: Path, line: int, row: list[str]) -> _LabelRow:
    """Return a row of two filled cells; raise RequestError for any other."""
    if len(row) != COLUMNS or not all(row):
        message = f"{path} line {line}: {len(row)} columns, {len([*filter(None, row)])} filled."
        fix = "give two, with a comma between: file name, class; quote a name that has commas."
        raise RequestError(message, fix)
    return _LabelRow(line, *row)
