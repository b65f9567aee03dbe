"""Unpacks packages of Debian, of PyPI and of npm."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

from vit_export.core.errors import BuildError
from vit_export.validation.emulation.launch import PACKAGES


def unpack(file: Path, folder: Path) -> None:
    """Unpack a package into `folder`, a wheel into its sub-folder of Python packages.

    Raises:
        BuildError: the file is damaged, or the disk is full.
    """
    if file.suffix == ".whl":
        with ZipFile(file) as archive:
            archive.extractall(folder / PACKAGES)
    elif file.suffix == ".deb":
        _run(["dpkg", "-x", str(file), str(folder)])
    else:
        _run(["tar", "-xzf", str(file), "-C", str(folder)])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 ours
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[-1]
        raise BuildError(f"{' '.join(command)} failed: {reason}", "check the free space.")
