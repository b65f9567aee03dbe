"""Files that appear whole or not at all.

Files are written to a hidden folder beside OUT, under their final names, so that references between
them stay valid. `Staging.commit` moves them into place, data files first and then OUT, and deletes
the data files of the previous OUT. It holds a lock on the folder of OUT, so that OUT is complete at
every instant and two runs cannot mix.
"""

import glob
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import BuildError, RequestError
from vit_export.core.locks import lock_folder

PARTIAL = ".partial"
"""Suffix of a staging folder."""
DATA = ".data"
"""Suffix of a file of external weights, which keeps its name: the artifact refers to it."""


@dataclass(frozen=True)
class Staging:
    """A private folder for `file` and its companions, all under their final names.

    A companion's name begins with that of the artifact: OUT.json, OUT.<12 hex>.data.
    """

    out: Path
    folder: Path

    @property
    def file(self) -> Path:
        """Path to write the artifact to."""
        return self.folder / self.out.name

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of every staged file, by name."""
        hashes = {}
        for path in sorted(self.folder.iterdir()):
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return hashes

    def commit(self, earlier: Iterable[Path] = ()) -> None:
        """Move the staged files into place, and delete OUT.rejected and its report.

        The `earlier` files, which belonged to the previous OUT, are deleted too, unless the staging
        folder has a new version of them.
        """
        with lock_folder(self.out.parent):
            moved = {self._move_home(companion) for companion in self._companions()}
            self.file.replace(self.out)
            leftovers = {*data_files(self.out), *earlier, *rejected_names(self.out)}
            for leftover in leftovers - moved:
                leftover.unlink(missing_ok=True)

    def reject(self, report: str) -> Path:
        """Keep the staged files as OUT.rejected and its companions, and write `report` beside it.

        OUT does not change. Return the path of OUT.rejected.
        """
        rejected, report_file = rejected_names(self.out)
        with lock_folder(self.out.parent):
            for companion in self._companions():
                if companion.suffix == DATA:
                    self._move_home(companion)
                else:
                    suffix = companion.name.removeprefix(self.out.name)
                    companion.replace(companion_path(rejected, suffix))
            if self.file.exists():
                self.file.replace(rejected)
            report_file.write_text(report, encoding="utf-8")
        return rejected

    def _companions(self) -> list[Path]:
        """Return the staged companions, weights before what refers to them."""
        companions = self.folder.glob(f"{glob.escape(self.out.name)}.*")
        return sorted(companions, key=lambda path: (path.suffix != DATA, path.name))

    def _move_home(self, companion: Path) -> Path:
        home = self.out.parent / companion.name
        companion.replace(home)
        return home


def rejected_names(out: Path) -> tuple[Path, Path]:
    """Return the paths of a rejected artifact and of its report."""
    return Path(f"{out}.rejected"), Path(f"{out}.rejected.report.json")


def check_writable(out: Path) -> None:
    """Raise an error unless OUT can be written as a file.

    Raises:
        RequestError: the folder of OUT is missing, or OUT is a folder.
        BuildError: the folder of OUT cannot be written to.
    """
    if out.is_dir():
        raise RequestError(f"{out} is a folder.", "name a file.")
    if not out.parent.is_dir():
        raise RequestError(f"The folder {out.parent} does not exist.", f"mkdir -p {out.parent}")
    try:  # only creating something there is a sure test: access() is always true for root
        tempfile.TemporaryDirectory(
            prefix=f".{out.name}.", suffix=PARTIAL, dir=out.parent
        ).cleanup()
    except OSError as error:
        message = f"The folder {out.parent} can't be written: {error.strerror}."
        raise BuildError(message, "choose another OUT.") from None


@contextmanager
def stage_file(out: Path) -> Iterator[Staging]:
    """Open a staging folder for OUT, and delete it afterwards in any case.

    Raises:
        RequestError: the folder of OUT is missing, or OUT is a folder.
        BuildError: the folder of OUT cannot be written to, or the disk is full.
    """
    check_writable(out)
    try:
        with _open_private_folder(out) as folder:
            yield Staging(out, folder)
    except OSError as error:
        message = f"{out} can't be written: {error.strerror or error}."
        raise BuildError(message, "free space or choose another place; OUT is untouched.") from None


def companion_path(out: Path, suffix: str) -> Path:
    """Return the path of a companion of `out`, whose name it extends: OUT.json, OUT.onnx."""
    return out.with_name(f"{out.name}{suffix}")


@contextmanager
def stage_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Open a folder beside OUT whose files move into OUT at the end; other files in OUT stay.

    Raises:
        RequestError: OUT is a file, or a folder that is not empty while `force` is false, or its
            parent folder is missing.
        BuildError: OUT cannot be written to, or the disk is full.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file.", "name a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise RequestError(f"{out} is not empty.", "name another folder, or give --force.")
    if not out.absolute().parent.is_dir():
        raise RequestError(f"The folder {out.parent} does not exist.", f"mkdir -p {out.parent}")
    try:
        with _open_private_folder(out.absolute()) as folder:
            yield folder
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                home = out / file.relative_to(folder)
                home.parent.mkdir(parents=True, exist_ok=True)
                file.replace(home)
    except OSError as error:
        message = f"{out} can't be written: {error.strerror or error}."
        raise BuildError(message, "free space or choose another place.") from None


@contextmanager
def _open_private_folder(out: Path) -> Iterator[Path]:
    """Open a staging folder for one run; delete the staging folders of killed runs."""
    with ExitStack() as cleanup:
        with lock_folder(out.parent):  # so that no other run takes the new folder for a leftover
            _sweep(out)
            folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=PARTIAL, dir=out.parent))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            cleanup.enter_context(lock_folder(folder))
        yield folder


def data_files(out: Path) -> list[Path]:
    """Return the files of external weights of `out`: every OUT.<12 hex>.data beside it."""
    pattern = re.compile(re.escape(out.name) + r"\.[0-9a-f]{12}" + re.escape(DATA))
    return [path for path in out.parent.iterdir() if pattern.fullmatch(path.name)]


def _sweep(out: Path) -> None:
    """Delete the staging folders of runs that were killed; one in use is locked and stays."""
    for folder in out.parent.glob(f".{out.name}.*{PARTIAL}"):
        try:
            with lock_folder(folder, wait=False):
                shutil.rmtree(folder)
        except OSError:
            continue
