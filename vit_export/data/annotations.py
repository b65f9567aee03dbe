"""Labels of the images in a folder, from the names of its sub-folders or from a CSV file."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import RequestError
from vit_export.data.images import IMAGE_SUFFIXES, find_images

COLUMNS = 2


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
    labels_csv: Path | None = None


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
    paths = find_images(folder)
    if labels_csv is None:
        return _label_by_folder(folder, paths)
    return _label_by_csv(folder, paths, Path(labels_csv))


def _label_by_folder(folder: Path, paths: list[Path]) -> Annotations:
    """Take the outermost sub-folders as labels; without sub-folders there are no labels."""
    inner = [path for path in paths if path.parent != folder]
    if not inner:
        return Annotations(folder=folder, paths=tuple(paths), labels=None, origins={})
    labels = tuple(path.relative_to(folder).parts[0] for path in inner)
    return Annotations(
        folder=folder,
        paths=tuple(inner),
        labels=labels,
        origins={label: str(folder / label) for label in labels},
        unlabelled=tuple(path for path in paths if path.parent == folder),
    )


def _label_by_csv(folder: Path, paths: list[Path], labels_csv: Path) -> Annotations:
    labels: dict[Path, str] = {}
    origins: dict[str, str] = {}
    for line, name, label in _read_rows(labels_csv):
        path, origin = folder / name, f"{labels_csv} line {line}"
        if Path(name).is_absolute() or not path.is_file():
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
        unlabelled=tuple(path for path in paths if path not in labels),
        labels_csv=labels_csv,
    )


def _read_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line number, file name and label of each row, without a header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: Excel writes a BOM
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.", "check the path.") from None
    except (csv.Error, ValueError) as error:  # ValueError: not UTF-8
        raise RequestError(f"{path} can't be read: {error}.", "save it as CSV, UTF-8.") from None
    for number, (line, row) in enumerate(rows):
        if len(row) != COLUMNS or not all(row):
            message = f"{path} line {line}: {len(row)} columns, {len([*filter(None, row)])} filled."
            fix = "give two, with a comma between: file name, class; quote a name that has commas."
            raise RequestError(message, fix)
        if number or Path(row[0]).suffix.lower() in IMAGE_SUFFIXES:  # a header names no image
            yield line, row[0], row[1]
