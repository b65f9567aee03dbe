"""Files that appear whole or not at all.

Files are written to a hidden folder beside OUT, under their final names, so that references between
them stay valid. `Staging.commit` moves them into place, data files first and then OUT, and deletes
the data files of the previous OUT. It holds a lock on the folder of OUT, so that OUT is complete at
every instant and two runs cannot mix.
"""

import glob
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import BuildError
from vit_export.core.output_path import check_writable
from vit_export.core.private_folder import lock_aloud, open_private_folder
from vit_export.core.progress import Progress, silent

DATA = ".data"
"""Suffix of a file of external weights, which keeps its name: the artifact refers to it."""
Move = tuple[Path, Path]
"""A staged file and its place beside OUT."""


@dataclass(frozen=True)
class Staging:
    """A private folder for `file` and its companions, all under their final names.

    A companion's name begins with that of the artifact: OUT.json, OUT.<12 hex>.data.
    """

    out: Path
    folder: Path
    progress: Progress = silent

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

        The files get the mode and the owner of the previous OUT. The `earlier` files, which
        belonged to it, are deleted, unless the staging folder has a new version of them. An error
        leaves everything as it was: once OUT is in place, nothing raises one.
        """
        with lock_aloud(self.out.parent, self.progress):
            moves = [(one, self.out.parent / one.name) for one in self._companions()]
            moves.append((self.file, self.out))
            _copy_access(self.out, [staged for staged, _ in moves])
            self._move(moves)
            homes = {home for _, home in moves}
            for leftover in {*earlier, *rejected_names(self.out)} - homes:
                _delete(leftover)
            with suppress(OSError):  # the folder may be writable and unreadable
                for leftover in set(data_files(self.out)) - homes:
                    _delete(leftover)

    def reject(self, report: str) -> Path:
        """Keep the staged files as OUT.rejected and its companions, and write `report` beside it.

        OUT does not change. Return the path of OUT.rejected.

        Raises:
            OSError: they can't be kept, for something else has one of the names, say.
        """
        rejected, report_file = rejected_names(self.out)
        moves = [(one, self._name_rejected(one)) for one in self._companions()]
        if self.file.exists():
            moves.append((self.file, rejected))
        staged_report = self.folder / report_file.name
        staged_report.write_text(report, encoding="utf-8")
        with lock_aloud(self.out.parent, self.progress):
            self._move([*moves, (staged_report, report_file)])
        return rejected

    def _companions(self) -> list[Path]:
        """Return the staged companions, weights before what refers to them."""
        companions = self.folder.glob(f"{glob.escape(self.out.name)}.*")
        return sorted(companions, key=lambda path: (path.suffix != DATA, path.name))

    def _name_rejected(self, companion: Path) -> Path:
        """Return the place of a companion of OUT.rejected; weights keep their name."""
        if companion.suffix == DATA:
            return self.out.parent / companion.name
        suffix = companion.name.removeprefix(self.out.name)
        return companion_path(rejected_names(self.out)[0], suffix)

    def _move(self, moves: Sequence[Move]) -> None:
        """Move every file to its place; if one can't be moved, put back what was there."""
        former = self.folder / "former"
        former.mkdir(exist_ok=True)
        restorable: list[tuple[Path, Path | None]] = []
        try:
            for number, (staged, home) in enumerate(moves):
                backup = _back_up(home, former / str(number))
                staged.replace(home)
                restorable.append((home, backup))
        except BaseException:
            for home, backup in reversed(restorable):
                _delete(home) if backup is None else backup.replace(home)
            raise


def _back_up(file: Path, place: Path) -> Path | None:
    """Return a second name for a file that is about to be replaced; None if there is no file."""
    if not os.path.lexists(file):
        return None
    place.unlink(missing_ok=True)
    try:
        os.link(file, place, follow_symlinks=False)
    except OSError:  # some file systems have no hard links
        shutil.copy2(file, place, follow_symlinks=False)
    return place


def _copy_access(former: Path, files: Iterable[Path]) -> None:
    """Give files the owner, group and mode of the one that they replace, as far as allowed."""
    try:
        status = former.stat()
    except OSError:
        return
    for file in files:
        with suppress(OSError, AttributeError):  # Windows has no owners
            os.chown(file, status.st_uid, status.st_gid)
        with suppress(OSError):
            file.chmod(stat.S_IMODE(status.st_mode))


def _delete(file: Path) -> None:
    with suppress(OSError):  # it may be a folder, or another user's
        file.unlink(missing_ok=True)


def rejected_names(out: Path) -> tuple[Path, Path]:
    """Return the paths of a rejected artifact and of its report."""
    return Path(f"{out}.rejected"), Path(f"{out}.rejected.report.json")


@contextmanager
def stage_file(out: Path, progress: Progress = silent) -> Iterator[Staging]:
    """Open a staging folder for OUT, and delete it afterwards in any case.

    Raises:
        RequestError: OUT can't be a file: `core.output_path.check_writable`.
        BuildError: the folder of OUT cannot be written to, or the disk is full.
    """
    check_writable(out)
    try:
        with open_private_folder(out, progress) as folder:
            yield Staging(out, folder, progress)
    except OSError as error:
        message = f"{out} can't be written: {error.strerror or error}."
        raise BuildError(message, "free space or choose another place; OUT is untouched.") from None


def companion_path(out: Path, suffix: str) -> Path:
    """Return the path of a companion of `out`, whose name it extends: OUT.json, OUT.onnx."""
    return out.with_name(f"{out.name}{suffix}")


def data_files(out: Path) -> list[Path]:
    """Return the files of external weights of `out`: every OUT.<12 hex>.data beside it."""
    pattern = re.compile(re.escape(out.name) + r"\.[0-9a-f]{12}" + re.escape(DATA))
    return [path for path in out.parent.iterdir() if pattern.fullmatch(path.name)]
