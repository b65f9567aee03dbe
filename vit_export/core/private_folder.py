"""A hidden folder beside OUT for the files of one run, deleted with the run or after it."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vit_export.core.locks import lock_folder
from vit_export.core.output_path import PARTIAL
from vit_export.core.progress import Progress, warn


@contextmanager
def open_private_folder(out: Path, progress: Progress) -> Iterator[Path]:
    """Open a staging folder for one run; delete the staging folders of killed runs."""
    with ExitStack() as cleanup:
        with lock_aloud(out.parent, progress):  # no other run takes the new folder for a leftover
            for leftover in find_private_folders(out):
                _delete_unless_locked(leftover)
            folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=PARTIAL, dir=out.parent))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            cleanup.enter_context(lock_folder(folder))
        yield folder


def find_private_folders(out: Path) -> list[Path]:
    """Return the staging folders of `out`: those of running and of killed runs."""
    pattern = re.compile(re.escape(f".{out.name}.") + r"[a-z0-9_]{8}" + re.escape(PARTIAL))
    entries = [entry for entry in out.parent.iterdir() if pattern.fullmatch(entry.name)]
    return [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]


@contextmanager
def lock_aloud(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock on `folder`; a warning says that another process holds it."""
    with ExitStack() as cleanup:
        try:
            cleanup.enter_context(lock_folder(folder, wait=False))
        except BlockingIOError:
            warn(progress, f"another program locks the folder {folder}; waiting for it.")
            cleanup.enter_context(lock_folder(folder))
        yield


def _delete_unless_locked(folder: Path) -> None:
    try:
        with lock_folder(folder, wait=False):
            shutil.rmtree(folder)
    except OSError:
        return
