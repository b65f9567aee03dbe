"""Runtimes of other versions, in environments of their own: installed once, kept in the cache."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from run_elsewhere import read_array, write_array
from support import need

from vit_export.backends.onnx.backend import ONNX
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.session import TAKES, RunFailedError, join_outputs
from vit_export.core.locks import lock_folder
from vit_export.core.progress import silent
from vit_export.validation.claims import choose_tolerance
from vit_export.validation.emulation.validate import Claim
from vit_export.validation.expectation import Expectation
from vit_export.validation.sample_set import remake_sample_set

RUNNER = Path(__file__).with_name("run_elsewhere.py")
OLD_NUMPY = "numpy==1.26.4"
"""What ONNX Runtime before 1.19 was built for."""


def install(requirement: str, group: str) -> Path:
    """The folder of one package without its dependencies, from the cache if it is there."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    root = Path(cache, "vit-export", "test-runtimes", python)
    root.mkdir(parents=True, exist_ok=True)
    home = root / requirement
    with lock_folder(root):
        if not home.is_dir():
            with tempfile.TemporaryDirectory(dir=root) as folder:
                words = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
                done = subprocess.run(
                    [sys.executable, *words, "--target", f"{folder}/whole", requirement],
                    check=False,
                    capture_output=True,
                )
                need(group, present=done.returncode == 0, fix=f"pip needs {requirement}")
                shutil.move(f"{folder}/whole", home)
    return home


class ElsewhereSession:
    """An ONNX file that a process without vit-export has open."""

    takes_fp16 = False

    def __init__(self, process: subprocess.Popen[bytes], runtime: str) -> None:
        self._process = process
        fields = self._receive()
        if "error" in fields:
            raise RunFailedError(fields["error"], TAKES)
        self.runtime = f"{runtime} {fields['version']}"
        kinds = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
        self._dtype = kinds.get(fields["dtype"], np.float32)
        self.takes_fp16 = self._dtype == np.float16

    def _receive(self):
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            return {"error": f"its process ended with {code}"}
        return json.loads(line)

    def run(self, images):
        write_array(self._process.stdin, images.astype(self._dtype))
        self._process.stdin.flush()
        fields = self._receive()
        if "error" in fields:
            raise RunFailedError(fields["error"], TAKES)
        outputs = [read_array(self._process.stdout) for _ in range(fields["outputs"])]
        return join_outputs(outputs, len(images))

    def matmuls_by_dtype(self):
        return {}


@contextmanager
def open_elsewhere(runtime: str, folders, artifact: Path):
    """A session on `artifact` in a process that sees the packages in `folders` alone."""
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PATH": os.environ["PATH"],
        "ORT_DISABLE_TELEMETRY": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-S", str(RUNNER), runtime, str(artifact)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            yield ElsewhereSession(process, runtime)
        finally:
            process.kill()


def validate_elsewhere(runtime: str, folders, artifact: Path):
    """The verdict on an artifact there, against the answers that it carries."""
    manifest = read_manifest(open_artifact(artifact), artifact)
    tolerance = choose_tolerance(manifest, ONNX.find_precisions(artifact))
    expectation = Expectation.from_manifest(manifest, manifest.reference, tolerance)
    inputs = remake_sample_set(manifest).file_inputs
    claim = Claim(artifact, manifest, expectation, inputs, "the manifest")
    with open_elsewhere(runtime, folders, artifact) as session:
        return claim.validate(session, progress=silent)
