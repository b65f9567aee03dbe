"""OUT, the file that a command writes: where it may be, checked before the work starts."""

import os
import shlex
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from vit_export.core.errors import BuildError, RequestError

PARTIAL = ".partial"
"""Suffix of a staging folder."""
COMPANION_BYTES = len(".rejected.report.json")
"""Most bytes that the name of a companion, or of a staging folder, adds to that of OUT."""
MAX_NAME_BYTES = 255 - COMPANION_BYTES
"""Longest name of OUT: file systems allow 255 bytes, or a little less."""


def resolve_out(out: str | Path) -> Path:
    """Return OUT with the user's home folder for `~`, and the file that a symbolic link names.

    Raises:
        RequestError: OUT ends in a slash, its name is not UTF-8, or its links lead in a circle.
    """
    text = os.fspath(out)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"The name {text!r} is not UTF-8.", "choose another name.") from None
    if not text or text.endswith(("/", os.sep)):
        message = f"OUT is {text!r}, which names a folder."
        raise RequestError(message, f"name a file in it: {shlex.quote(text + 'vit')}")
    path = expand_home(Path(text))
    try:
        return path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError):  # Python 3.11 and 3.13 differ about a circle
        message = f"The link {path} leads in a circle."
        raise RequestError(message, "name another file.") from None


def expand_home(path: Path) -> Path:
    """Return the path with the home folder for `~`, which no shell expands in --out=~/f."""
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user
        return path


def check_writable(out: Path) -> None:
    """Raise an error unless OUT can be written as a file.

    Raises:
        RequestError: the folder of OUT is missing, or OUT is a folder, a device or a pipe, or its
            name is too long.
        BuildError: the folder of OUT cannot be written to.
    """
    if len(os.fsencode(out.name)) > MAX_NAME_BYTES:
        message = f"The name {out.name} is longer than {MAX_NAME_BYTES} bytes."
        raise RequestError(message, "choose a shorter name; files beside OUT have longer ones.")
    if out.is_dir():
        raise RequestError(f"{out} is a folder.", "name a file.")
    if os.path.lexists(out) and not out.is_file():
        raise RequestError(f"{out} is a device, a pipe or a socket.", "name a file.")
    check_parent(out)
    try:  # only creating something there is a sure test: access() is always true for root
        tempfile.TemporaryDirectory(
            prefix=f".{out.name}.", suffix=PARTIAL, dir=out.parent
        ).cleanup()
    except OSError as error:
        message = f"The folder {out.parent} can't be written: {error.strerror}."
        raise BuildError(message, "choose another OUT.") from None


def check_parent(out: Path) -> None:
    """Raise RequestError unless the folder of OUT exists."""
    if not out.parent.is_dir():
        fix = f"mkdir -p {shlex.quote(str(out.parent))}"
        raise RequestError(f"The folder {out.parent} does not exist.", fix)


def check_keeps_inputs(
    out: Path,
    inputs: Mapping[str, Path | None],
    *,
    option: str = "--out",
    companions: Iterable[Path] = (),
    suffixes: Collection[str] = (),
) -> None:
    """Raise RequestError if writing OUT would replace or delete a file that is read.

    Args:
        out: the file to write.
        inputs: the files and folders that are read, by the option that names each.
        option: the option that names OUT.
        companions: further files that are written or deleted with OUT.
        suffixes: of files that an earlier run may have written into a folder of `inputs`.
    """
    for name, path in inputs.items():
        if path is None:
            continue
        replaced = next((one for one in (out, *companions) if _is_same(one, path)), None)
        is_inside = path.is_dir() and out.is_file() and out.suffix not in suffixes
        if is_inside and out.resolve().is_relative_to(path.resolve()):
            replaced = out
        if replaced is not None:
            message = f"{replaced} is the file of {name}, and writing {out} would replace it."
            raise RequestError(message, f"give {option} another name.")


def _is_same(first: Path, second: Path) -> bool:
    """Return whether two paths are one file, or would be."""
    try:
        return first.samefile(second)
    except OSError:  # one of them does not exist yet
        return first.resolve() == second.resolve()
