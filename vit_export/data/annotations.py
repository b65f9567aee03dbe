"""What is said of the images in a folder: nothing, or the class of each, by sub-folder or CSV."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import RequestError
from vit_export.data.images import IMAGE_SUFFIXES, find_images

COLUMNS = 2


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """Image files and what is said of them. Nobody has opened them yet."""

    folder: Path
    paths: tuple[Path, ...]
    said: tuple[str, ...] | None
    """The class of each, a name or an index; None where nothing is said of any."""
    where: Mapping[str, str]
    """Where each class is named first, for errors."""
    unlabelled: tuple[Path, ...] = ()
    """Images of which nothing is said, among others of which it is."""
    labels_csv: Path | None = None


def annotated(images: str | Path | None, labels_csv: str | Path | None) -> Annotated | None:
    """The images in a folder, with their classes from `labels_csv` or else from sub-folders.

    None without images.

    Raises:
        RequestError: no images, a CSV that can't be read, or one that names other files.
    """
    if images is None:
        if labels_csv is not None:
            message = f"{labels_csv} labels images, and there are none."
            raise RequestError(message, "give --images DIR too.")
        return None
    folder = Path(images)
    found = find_images(folder)
    if labels_csv is None:
        return _by_folder(folder, found)
    return _by_csv(folder, found, Path(labels_csv))


def _by_folder(folder: Path, found: list[Path]) -> Annotated:
    """The outermost sub-folder is the class; without any sub-folder nothing is said."""
    inner = [path for path in found if path.parent != folder]
    if not inner:
        return Annotated(folder=folder, paths=tuple(found), said=None, where={})
    said = tuple(path.relative_to(folder).parts[0] for path in inner)
    return Annotated(
        folder=folder,
        paths=tuple(inner),
        said=said,
        where={name: str(folder / name) for name in said},
        unlabelled=tuple(path for path in found if path.parent == folder),
    )


def _by_csv(folder: Path, found: list[Path], labels_csv: Path) -> Annotated:
    said: dict[Path, str] = {}
    where: dict[str, str] = {}
    for line, name, label in _rows(labels_csv):
        path, place = folder / name, f"{labels_csv} line {line}"
        if Path(name).is_absolute() or not path.is_file():
            message = f"{place}: {name} is no file in {folder}."
            raise RequestError(message, "give names relative to that folder, or drop the row.")
        if said.setdefault(path, label) != label:
            message = f"{place}: {name} is {label!r}, and {said[path]!r} further up."
            raise RequestError(message, "keep one row per image.")
        where.setdefault(label, place)
    if not said:
        raise RequestError(f"{labels_csv} labels no image.", "give rows of file name and class.")
    paths = sorted(said)
    return Annotated(
        folder=folder,
        paths=tuple(paths),
        said=tuple(said[path] for path in paths),
        where=where,
        unlabelled=tuple(path for path in found if path not in said),
        labels_csv=labels_csv,
    )


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, file name and class of each row; a first row that names no image is a header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: Excel begins with a mark
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            rows = [(reader.line_num, [one.strip() for one in row]) for row in reader if row]
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
