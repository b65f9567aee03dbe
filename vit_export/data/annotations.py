"""Labels of the images in a folder, by sub-folder or CSV; a folder may have none."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import RequestError
from vit_export.data.images import IMAGE_SUFFIXES, find_images

COLUMNS = 2


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Image files and their labels. No file has been opened yet."""

    folder: Path
    paths: tuple[Path, ...]
    labels: tuple[str, ...] | None
    """Name or index of each image's class; None if no image has a label."""
    origins: Mapping[str, str]
    """Place where each label occurs first, for errors."""
    unlabelled: tuple[Path, ...] = ()
    """Images without a label, in a folder where others have one."""
    labels_csv: Path | None = None


def read_annotations(
    images: str | Path | None, labels_csv: str | Path | None
) -> Annotations | None:
    """Return the images in a folder with their labels from `labels_csv`, else from sub-folders.

    It returns None without `images`.

    Raises:
        RequestError: there are no images, or the CSV can't be read or names other files.
    """
    if images is None:
        if labels_csv is not None:
            message = f"{labels_csv} labels images, and there are none."
            raise RequestError(message, "give --images DIR too.")
        return None
    folder = Path(images)
    paths = find_images(folder)
    if labels_csv is None:
        return _label_by_folder(folder, paths)
    return _label_by_csv(folder, paths, Path(labels_csv))


def _label_by_folder(folder: Path, paths: list[Path]) -> Annotations:
    """Return labels from the outermost sub-folders; without sub-folders there are no labels."""
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
    """Yield line number, file name and label of each row; a header names no image file."""
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
        if number or Path(row[0]).suffix.lower() in IMAGE_SUFFIXES:
            yield line, row[0], row[1]
