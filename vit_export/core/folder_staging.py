"""A folder of files, written beside OUT and moved into it at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vit_export.core.errors import BuildError, RequestError
from vit_export.core.output_path import check_parent
from vit_export.core.private_folder import open_private_folder
from vit_export.core.progress import Progress, silent


@contextmanager
def stage_folder(out: Path, *, force: bool, progress: Progress = silent) -> Iterator[Path]:
    """Open a folder beside OUT whose files move into OUT at the end; other files in OUT stay.

    Raises:
        RequestError: OUT is a file, or a folder that is not empty while `force` is false, or its
            parent folder is missing; or OUT has folders where files should be, or the reverse.
        BuildError: OUT cannot be written to, or the disk is full.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file.", "name a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise RequestError(f"{out} is not empty.", "name another folder, or give --force.")
    check_parent(out.absolute())
    try:
        with open_private_folder(out.absolute(), progress) as folder:
            yield folder
            _move_into(out, folder)
    except OSError as error:
        message = f"{out} can't be written: {error.strerror or error}."
        raise BuildError(message, "free space or choose another place.") from None


def _move_into(out: Path, folder: Path) -> None:
    """Move the files of a folder into OUT, after a look at what is there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    homes = [out / file.relative_to(folder) for file in files]
    for home in homes:
        if home.is_dir() or (home.parent.exists() and not home.parent.is_dir()):
            in_the_way = home if home.is_dir() else home.parent
            message = f"{in_the_way} is in the way of the new files; nothing was written."
            raise RequestError(message, f"move {in_the_way} away, or name another folder.")
    for file, home in zip(files, homes, strict=True):
        home.parent.mkdir(parents=True, exist_ok=True)
        file.replace(home)
