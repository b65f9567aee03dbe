"""Fetches the emulators into their folder, each component whole or not at all."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from vit_export.core.errors import BuildError
from vit_export.core.locks import lock_folder
from vit_export.core.progress import Progress
from vit_export.validation.emulation.components import COMPONENTS, Component, Download
from vit_export.validation.emulation.fetch import CLIENTS, fetch_debian
from vit_export.validation.emulation.store import (
    check_machine,
    find_folder,
    is_installed,
    locate,
)
from vit_export.validation.emulation.unpack import unpack

PARTIAL = ".partial-"
"""Prefix of a folder whose component is not complete."""


def install(progress: Progress) -> None:
    """Install every component that is missing.

    An interrupted installation leaves nothing behind, and a killed one only a folder that the next
    one deletes.

    Raises:
        MissingError: this machine can't have emulators, or lacks a program that fetches them.
        BuildError: a download fails, or is not the pinned file.
    """
    missing = [one for one in COMPONENTS if not is_installed(one)]
    if not missing:
        return
    check_machine()
    for client in {download.client for one in missing for download in one.downloads}:
        CLIENTS[client].check()
    folder = find_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        for leftover in folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover)
        for component in missing:
            if not is_installed(component):  # another process may have installed it meanwhile
                with progress(f"install {component.title}"):
                    _install(component, folder)


def _install(component: Component, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as name:
        downloads, tree, whole = (Path(name, one) for one in ("downloads", "tree", "whole"))
        for one in (downloads, tree, whole):
            one.mkdir()
        files = _fetch(component, downloads)
        for file in files:
            unpack(file, whole)
        for pattern in component.keep:
            for path in whole.glob(pattern):
                kept = tree / path.relative_to(whole)
                kept.parent.mkdir(parents=True, exist_ok=True)
                path.rename(kept)
        tree.rename(locate(component))


def _fetch(component: Component, downloads: Path) -> list[Path]:
    """Return the files of all downloads, each checked against its sum."""
    fetch_debian(component, downloads)
    files = []
    for download in component.downloads:
        before = set(downloads.iterdir())
        if download.client != "apt":
            CLIENTS[download.client].fetch(download, downloads)
            (file,) = set(downloads.iterdir()) - before
        else:
            (file,) = downloads.glob(f"{download.package}_*.deb")
        _check_sum(file, download)
        files.append(file)
    return files


def _check_sum(file: Path, download: Download) -> None:
    """Raise BuildError unless `file` is the pinned one."""
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != download.sha256:
        message = f"{file.name} is not the pinned file: its SHA-256 is {actual}"
        raise BuildError(f"{message}, not {download.sha256}.", "check where it comes from.")
