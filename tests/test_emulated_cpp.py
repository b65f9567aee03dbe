"""A generated C++ project, compiled for ARM64 here, passes its own tests on an emulated one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from cpp_projects import TRAINED, build, ctest, generate, onnxruntime_root
from support import need

from vit_export.validation.emulation.components import ARM64_PYTHON, QEMU_USER
from vit_export.validation.emulation.cpus import CPUS
from vit_export.validation.emulation.launch import PACKAGES
from vit_export.validation.emulation.store import is_installed, locate

__all__ = ["onnxruntime_root"]  # fixture

COMPILER, SYSROOT = "aarch64-linux-gnu-g++", "/usr/aarch64-linux-gnu"
ELF_MACHINE, AARCH64 = slice(18, 20), b"\xb7\x00"


@pytest.fixture
def arm64_root(onnxruntime_root, tmp_path) -> Path:
    """A folder like a release of ONNX Runtime for ARM64: the headers, and the wheel's library."""
    installed = is_installed(QEMU_USER) and is_installed(ARM64_PYTHON)
    need("emulation", present=installed, fix="vit-export emulate --install")
    fix = "apt-get install g++-aarch64-linux-gnu"
    need("emulation", present=shutil.which(COMPILER) is not None, fix=fix)
    capi = locate(ARM64_PYTHON) / PACKAGES / "onnxruntime" / "capi"
    (library,) = capi.glob("libonnxruntime.so.*")
    root = tmp_path / "onnxruntime"
    (root / "lib").mkdir(parents=True)
    (root / "include").symlink_to(onnxruntime_root / "include")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (root / "lib" / name).symlink_to(library)
    return root


@pytest.mark.slow
def test_a_project_passes_its_tests_on_another_architecture(arm64_root, tmp_path):
    app = generate(tmp_path / "project", "onnx", *TRAINED, "--precision", "int8")
    qemu = locate(QEMU_USER) / "usr" / "bin" / "qemu-aarch64"
    emulator = (qemu, "-L", SYSROOT, "-cpu", CPUS["raspberry-pi-5"].model)
    build(
        app,
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={COMPILER}",
        f"-DCMAKE_CROSSCOMPILING_EMULATOR={';'.join(map(str, emulator))}",
        f"-DONNXRUNTIME_ROOT={arm64_root}",
    )
    assert (app / "build" / "golden").read_bytes()[ELF_MACHINE] == AARCH64
    assert "100% tests passed, 0 tests failed out of 2" in ctest(app)
    spoil_answers(app)
    assert "golden (Failed)" in ctest(app, exit_code=None)


def spoil_answers(app: Path) -> None:
    """Change the answers that the project's own test expects."""
    answers, *_ = (app / "golden").glob("*.logits")
    values = np.fromfile(answers, np.float32)
    values[::-1].tofile(answers)  # an offset alone would not matter: the test compares shares
