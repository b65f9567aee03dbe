"""What every part gets, and how it calls the command line that was installed beside it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_parts.folder import Contents, Model

CPU, CUDA = "cpu", "cuda"
LONGEST_S = 100
"""Longest that one command may take."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The prepared folder, a folder to write into, and the device that runs the files."""

    folder: Path
    work: Path
    device: str
    """`cuda`, or `cpu` in a dry run."""
    contents: Contents

    @property
    def is_dry(self) -> bool:
        """Whether this run is one on a CPU, to try the parts without a GPU."""
        return self.device == CPU

    def find_file(self, model: Model) -> Path | None:
        """Return the TorchScript file of a model; None where it was not made."""
        path = (self.folder / "files" if model.travels else self.work) / model.file
        return path if path.is_file() else None

    def read_manifest_json(self, model: Model) -> str:
        """Return the manifest that a model's file had where it was proven first."""
        return (self.folder / "files" / model.manifest).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on stdout; None if it is none."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None

    @property
    def sentence(self) -> str:
        """What the command says of its failure, in one line."""
        return " ".join((self.err or self.out).split())[-400:]


def call(work: Path, *arguments: object, path: str = "") -> Answer:
    """Run `vit-export ARGUMENTS` in a process of its own, with `path` before its other packages."""
    words = [sys.executable, "-P", "-m", "vit_export", *map(str, arguments)]
    environment = dict(os.environ)
    if path:
        environment["PYTHONPATH"] = f"{path}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    try:
        done = subprocess.run(
            words,
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        return Answer(-1, "", f"it ran past {LONGEST_S} s")
    out, err = (text.replace(f"{work}/", "") for text in (done.stdout, done.stderr))
    return Answer(done.returncode, out, err)
