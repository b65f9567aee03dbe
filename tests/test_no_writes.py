"""What `inspect` and `validate` do to the system, as `strace` sees it: they read, and no more."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import COMMAND, need

PATH_CALLS = {
    *("creat", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "unlink", "unlinkat", "mknod", "mknodat", "truncate", "chmod"),
    *("fchmodat", "chown", "lchown", "fchownat", "utime", "utimes", "utimensat", "futimesat"),
    *("setxattr", "lsetxattr", "removexattr", "lremovexattr", "mount", "umount2", "swapon"),
    *("acct", "chroot", "pivot_root", "quotactl"),
}
"""System calls that change what a path names, whatever their other arguments are."""
READING = {
    *("access", "faccessat", "faccessat2", "chdir", "getcwd", "readlink", "readlinkat", "stat"),
    *("lstat", "newfstatat", "statx", "statfs", "getxattr", "lgetxattr", "listxattr", "llistxattr"),
    *("fchdir", "inotify_add_watch"),
}
BY_DESCRIPTOR = ("fchmod", "fchown", "ftruncate", "fallocate")
"""System calls that change an open file."""
OPENING = {"open", "openat", "openat2"}
WRITING = re.compile(r"O_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)")
OTHER_LINE = re.compile(r"\d+ +(<\.\.\.|---|\+\+\+)")
CALL = re.compile(r"\d+ +(?P<name>\w+)\((?P<rest>.*)")
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')
"""A path, behind the folder that it is relative to; without one that is the current folder."""
NOWHERE = "/dev/null"
"""What the command opens for reading and writing, so that no file gets the descriptor of stdout."""
STAGING = re.compile(r"(?<=\.html\.)[a-z0-9_]{8}(?=\.partial)")
"""The random part in the name of a staging folder."""
COMMANDS = {
    "inspect": ("inspect", "f.onnx"),
    "inspect to JSON": ("inspect", "f.onnx", "--json"),
    "validate": ("validate", "f.onnx", "-q"),
}
PARTIAL = "cwd/.r.html.*.partial"
REPORT = {
    *(NOWHERE, "cwd/r.html", "cwd/r.html.rejected", "cwd/r.html.rejected.report.json"),
    *(PARTIAL, f"{PARTIAL}/r.html", f"{PARTIAL}/former", f"{PARTIAL}/former/0"),
}
"""The report, its staging folder, and what a rejected one would be called, which is deleted."""
MATPLOTLIB = {"home/.config/matplotlib", "xdg/matplotlib"}
PLANTED = """
import socket, subprocess
open("planted", "w").close()
subprocess.run(["true"])
with socket.socket() as one:
    one.connect_ex(("127.0.0.1", 9))
"""


@dataclass
class Trace:
    """What a process and its children asked the system for."""

    writes: set[str] = field(default_factory=set)
    """Paths that they opened for writing, or changed, or tried to."""
    programs: list[str] = field(default_factory=list)
    """Names of the programs that they started, or tried to."""
    others: list[str] = field(default_factory=list)
    """Calls on sockets of a network, and calls that are unknown here."""


@pytest.fixture(scope="module")
def tracer() -> str:
    strace = shutil.which("strace") or "strace"
    here = shutil.which("strace") is not None
    works = here and subprocess.run([strace, "-o", NOWHERE, "true"], check=False).returncode == 0
    need("strace", present=works, fix="apt-get install strace, and allow ptrace in a container.")
    return strace


@pytest.fixture
def trace(tracer, tmp_path, fashion) -> Callable[..., Trace]:
    """`trace(*words)`: run a command on f.onnx with a home, a cache and a folder of its own."""
    folders = {name: tmp_path / name for name in ("home", "tmp", "xdg", "cwd")}
    for folder in (*folders.values(), folders["home"] / ".config"):
        folder.mkdir()
    shutil.copy(fashion.path["onnx"], folders["cwd"] / "f.onnx")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",  # Python's own cache of modules is no part of this
        "HOME": str(folders["home"]),
        "TMPDIR": str(folders["tmp"]),
        "XDG_CACHE_HOME": str(folders["xdg"]),
    }
    log = tmp_path / "strace.log"
    options = ("-f", "-y", "-s", "4096", "-e", f"trace=%file,%network,{','.join(BY_DESCRIPTOR)}")

    def trace(*words: str, **changes: str) -> Trace:
        done = subprocess.run(
            [tracer, *options, "-o", log, COMMAND, *words],
            env=environment | changes,
            cwd=folders["cwd"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return read_trace(log, tmp_path)

    return trace


def read_trace(log: Path, root: Path) -> Trace:
    """What a log of strace says; paths are relative to `root`."""

    def resolve(match: re.Match[str]) -> str:
        path = os.path.normpath(root / "cwd" / (match["folder"] or "") / match["path"])
        return STAGING.sub("*", path.removeprefix(f"{root}/"))

    trace = Trace()
    for line in log.read_text().splitlines():
        call = CALL.match(line)
        if call is None:  # the second half of a call, a signal or an exit
            assert OTHER_LINE.match(line), line
            continue
        name, rest = call["name"], call["rest"]
        paths = [resolve(match) for match in PATH.finditer(rest)]
        if name == "execve":
            trace.programs.append(Path(paths[0]).name)
        elif name in PATH_CALLS or (name in OPENING and WRITING.search(rest)):
            trace.writes.update(paths)
        elif name in BY_DESCRIPTOR:
            trace.writes.add(rest)
        elif name not in READING | OPENING and "AF_UNIX" not in rest:
            trace.others.append(line)
    return trace


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_nothing_is_written_started_or_sent(trace, words):
    assert trace(*words) == Trace(writes={NOWHERE}, programs=["vit-export"])


@pytest.mark.slow
def test_a_report_is_all_that_is_written(trace):
    """Matplotlib lists the system's fonts once, in its own folder, with `fc-list`."""
    words = ("validate", "f.onnx", "-q", "--report", "r.html")
    first, second = trace(*words), trace(*words)
    for one in (first, second):
        assert {path for path in one.writes if "matplotlib" not in path} <= REPORT
        assert one.others == []
    assert set(first.programs) - {"fc-list"} == {"vit-export"}
    assert second.programs == ["vit-export"]
    assert {path for path in second.writes if "matplotlib" in path} == MATPLOTLIB


@pytest.mark.slow
def test_whatever_else_happens_is_seen(trace, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    folders = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    seen = trace("inspect", "f.onnx", PYTHONPATH=folders)
    assert seen.writes == {NOWHERE, "cwd/planted"}
    assert "true" in seen.programs
    assert any("connect" in line and "127.0.0.1" in line for line in seen.others)
