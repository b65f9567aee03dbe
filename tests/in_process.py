"""The command line within the process of the tests: no start of Python, no import of torch."""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryFile
from typing import BinaryIO
from unittest import mock

import torch

from vit_export import cli

C_LIBRARY = ctypes.CDLL(None)


def run_here(
    words: Sequence[str], environment: Mapping[str, str], folder: str | Path
) -> CompletedProcess[str]:
    """`vit-export WORDS` in `folder`, with what it wrote to stdout and stderr.

    Warnings are errors in it, as in every test. An exception that the command line does not expect
    is raised, so that the test shows its traceback.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        with (
            mock.patch.dict(os.environ, environment),
            chdir(folder),
            same_threads(),
            redirected("stdout", 1, out),
            redirected("stderr", 2, err),
        ):
            exit_code = cli.run(words)
        return CompletedProcess(words, exit_code, content(out), content(err))


@contextmanager
def same_threads() -> Iterator[None]:
    """Afterwards PyTorch has as many threads as before: --threads changes that."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def redirected(name: str, descriptor: int, file: BinaryIO) -> Iterator[None]:
    """`file` gets all that is written to `sys.NAME`, and by libraries to the descriptor."""
    before, kept = getattr(sys, name), os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    try:
        with open(descriptor, "w", closefd=False, encoding="utf-8") as stream:
            setattr(sys, name, stream)
            yield
    finally:
        setattr(sys, name, before)
        C_LIBRARY.fflush(None)  # libraries in C have buffers of their own
        os.dup2(kept, descriptor)
        os.close(kept)


def content(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode()
