"""Locks on folders: one holder at a time, released by its death, with or without fcntl."""

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from vit_export.core import locks
from vit_export.core.locks import lock_folder

HOLD = (
    "import sys, time; from pathlib import Path; from vit_export.core.locks import lock_folder\n"
    "with lock_folder(Path(sys.argv[1])):\n"
    "    print('locked', flush=True); time.sleep(600)"
)


@contextmanager
def holder(folder):
    """A process that holds the lock on `folder`."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.fixture
def windows(monkeypatch, tmp_path_factory):
    """No fcntl, but the function of msvcrt that locks bytes of an open file."""
    locked = {}

    def locking(descriptor, mode, count):
        assert (mode, count) == (fake.LK_NBLCK, 1)
        inode = locks.os.fstat(descriptor).st_ino
        if inode in locked:
            raise PermissionError(13, "Permission denied")
        locked[inode] = descriptor

    real_close = locks.os.close

    def close(descriptor):
        inode = locks.os.fstat(descriptor).st_ino
        if locked.get(inode) == descriptor:
            del locked[inode]
        real_close(descriptor)

    fake = SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks.os, "close", close)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temp")))
    return locked


def test_a_lock_of_another_process_is_respected_until_it_dies(tmp_path):
    with holder(tmp_path):
        with pytest.raises(BlockingIOError), lock_folder(tmp_path, wait=False):
            pass
        with lock_folder(tmp_path.parent, wait=False):
            pass
    with lock_folder(tmp_path):
        assert not list(tmp_path.iterdir())


def test_windows_locks_a_file_elsewhere(windows, tmp_path):
    with lock_folder(tmp_path):
        with pytest.raises(BlockingIOError), lock_folder(tmp_path, wait=False):
            pass
        with lock_folder(tmp_path.parent, wait=False):
            assert len(windows) == 2
    assert not windows
    assert not list(tmp_path.iterdir())


def test_windows_waits_for_a_lock(windows, tmp_path, monkeypatch):
    waits = []

    def release(seconds):
        waits.append(seconds)
        windows.clear()

    monkeypatch.setattr(locks.time, "sleep", release)
    with lock_folder(tmp_path), lock_folder(tmp_path):
        assert len(waits) == 1


def test_what_is_no_folder_is_refused_at_once(tmp_path):
    locks.os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotADirectoryError), lock_folder(tmp_path / "pipe"):
        pass


def test_what_is_no_folder_is_refused_on_windows(windows, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), lock_folder(tmp_path / "file"):
        pass
    assert not windows
