"""Exclusive locks on folders, which the system releases even when a process dies."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has msvcrt instead
    fcntl = None  # type: ignore[assignment]  # msvcrt stands in

RETRY_S = 0.05
"""Seconds between two attempts to get a lock on Windows, where nothing waits for one."""


@contextmanager
def lock_folder(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on `folder` as long as the context is open.

    Args:
        folder: the folder; nothing is written into it.
        wait: whether to wait for a process that holds the lock.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is false.
        NotADirectoryError: `folder` is something else.
    """
    open_locked = _open_substitute if fcntl is None else _open_folder
    descriptor = open_locked(folder, wait=wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_folder(folder: Path, *, wait: bool) -> int:
    # without O_DIRECTORY a pipe of that name would be waited for
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_substitute(folder: Path, *, wait: bool) -> int:
    """Lock a file that stands for `folder`: Windows has no locks on folders."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")
    name = hashlib.sha256(os.path.normcase(folder.resolve()).encode()).hexdigest()
    file = Path(tempfile.gettempdir(), f"vit-export-{name[:16]}.lock")
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        _lock_first_byte(descriptor, wait=wait)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock_first_byte(descriptor: int, *, wait: bool) -> None:
    msvcrt: Any = import_module("msvcrt")  # type checkers on other systems know nothing in it
    while True:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            if not wait:
                raise BlockingIOError("another process holds the lock") from None
            time.sleep(RETRY_S)
        else:
            return
