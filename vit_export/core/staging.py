"""Files that appear whole or not at all.

Work happens in a hidden folder beside OUT, where names and relative references are already final.
`Staged.commit` moves it into place: data files first, then OUT, then the former data files go, all
under a lock on the folder, so that OUT is complete at every instant and two runs can't mix.
"""

import fcntl
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import BuildError, RequestError

SUFFIX = ".partial"
DATA = ".data"
SIDECAR = ".json"
"""Of the manifest of what has no place for one."""
GRAPH = ".onnx"
"""Of what an engine was compiled from, where that is kept beside it."""
TWIN = ".fp32.onnx"
"""Of a graph that rounds like that one, for who can't compute in its types."""


@dataclass(frozen=True)
class Staged:
    """A private folder in which `file` stands under the name it will have."""

    out: Path
    folder: Path

    @property
    def file(self) -> Path:
        """Where the artifact is to be written."""
        return self.folder / self.out.name

    def commit(self, former: Iterable[Path] = ()) -> None:
        """What is staged takes the name OUT; what an earlier attempt left goes.

        So do files of the `former` OUT, but those that were staged anew.
        """
        with _locked(self.out.parent):
            moved = self._move_companions()
            self.file.replace(self.out)
            rejected, told = rejected_names(self.out)
            kept = (rejected, told, beside(rejected, SIDECAR), beside(rejected, GRAPH))
            for leftover in {*data_files(self.out), *former, *kept} - moved:
                leftover.unlink(missing_ok=True)

    def reject(self, report: str) -> Path:
        """What is staged is kept as OUT.rejected, what belongs to it and its report beside it.

        OUT stays as it is.
        """
        rejected, told = rejected_names(self.out)
        with _locked(self.out.parent):
            if self.file.exists():
                for data in data_files(self.file):
                    data.replace(self.out.parent / data.name)
                self.file.replace(rejected)
            sidecar = beside(self.file, SIDECAR)
            if sidecar.exists():
                sidecar.replace(beside(rejected, SIDECAR))
            twin = beside(self.file, TWIN)
            graph = twin if twin.exists() else beside(self.file, GRAPH)
            if graph.exists():
                for data in data_files(graph):
                    data.replace(self.out.parent / data.name)
                graph.replace(beside(rejected, GRAPH))
            told.write_text(report, encoding="utf-8")
        return rejected

    def _move_companions(self) -> set[Path]:
        """Moves what is called after OUT, as OUT.json is; weights before what refers to them."""
        moved = set()
        companions = self.folder.glob(f"{glob.escape(self.out.name)}.*")
        for companion in sorted(companions, key=lambda path: (path.suffix != DATA, path.name)):
            home = self.out.parent / companion.name
            companion.replace(home)
            moved.add(home)
        return moved


def rejected_names(out: Path) -> tuple[Path, Path]:
    """Where a rejected artifact and its report go."""
    return Path(f"{out}.rejected"), Path(f"{out}.rejected.report.json")


def check_writable(out: Path) -> None:
    """Nothing, when OUT can be a file here.

    Raises:
        RequestError: its folder is missing, or OUT is a folder.
        BuildError: its folder can't be written.
    """
    if out.is_dir():
        raise RequestError(f"{out} is a folder.", "name a file.")
    if not out.parent.is_dir():
        raise RequestError(f"The folder {out.parent} does not exist.", f"mkdir -p {out.parent}")
    try:  # to make something there is the one sure test: access() says yes to root anywhere
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=SUFFIX, dir=out.parent).cleanup()
    except OSError as error:
        message = f"The folder {out.parent} can't be written: {error.strerror}."
        raise BuildError(message, "choose another OUT.") from None


@contextmanager
def staged(out: Path) -> Iterator[Staged]:
    """A staging folder for OUT that is gone afterwards, whatever happens.

    Raises:
        RequestError, BuildError: as `check_writable`; a full disk or lost permission later.
    """
    check_writable(out)
    try:
        with _private(out) as folder:
            yield Staged(out, folder)
    except OSError as error:
        message = f"{out} can't be written: {error.strerror or error}."
        raise BuildError(message, "free space or choose another place; OUT is untouched.") from None


def beside(out: Path, suffix: str) -> Path:
    """What belongs to `out` and is called after it: OUT.json, OUT.onnx."""
    return out.with_name(f"{out.name}{suffix}")


@contextmanager
def staged_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside OUT whose files move into OUT at the end; others that are there stay.

    Raises:
        RequestError: OUT is a file, or a folder that holds something and `force` is not given.
        BuildError: it can't be written.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file.", "name a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise RequestError(f"{out} is not empty.", "name another folder, or give --force.")
    if not out.absolute().parent.is_dir():
        raise RequestError(f"The folder {out.parent} does not exist.", f"mkdir -p {out.parent}")
    try:
        with _private(out.absolute()) as folder:
            yield folder
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                home = out / file.relative_to(folder)
                home.parent.mkdir(parents=True, exist_ok=True)
                file.replace(home)
    except OSError as error:
        message = f"{out} can't be written: {error.strerror or error}."
        raise BuildError(message, "free space or choose another place.") from None


@contextmanager
def _private(out: Path) -> Iterator[Path]:
    """A folder beside OUT for one run; what killed runs left there goes."""
    with ExitStack() as cleanup:
        with _locked(out.parent):  # so that no other run takes the new folder for a leftover
            _sweep(out)
            folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=SUFFIX, dir=out.parent))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            cleanup.enter_context(_locked(folder))
        yield folder


def data_files(out: Path) -> list[Path]:
    """The external weights of `out`: OUT.<12 hex>.data beside it."""
    pattern = re.compile(re.escape(out.name) + r"\.[0-9a-f]{12}" + re.escape(DATA))
    return [path for path in out.parent.iterdir() if pattern.fullmatch(path.name)]


def _sweep(out: Path) -> None:
    """Staging folders of runs that were killed go; one in use is locked and stays."""
    for folder in out.parent.glob(f".{out.name}.*{SUFFIX}"):
        try:
            with _locked(folder, wait=False):
                shutil.rmtree(folder)
        except OSError:
            continue


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """An exclusive lock on `folder`, released by the system even when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
