"""Processes that see another x86 CPU than this machine's: fewer features, by a mask on CPUID.

The code that runs is the real one, at its real speed. QEMU's CPUs agree with it.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from support import need

SOURCE = Path(__file__).with_name("cpumask.c")
FIX = "run on Linux on x86-64 with gcc, and with cpuid_fault in /proc/cpuinfo"


@pytest.fixture(scope="session")
def cpu_mask(shared_folder) -> Path:
    """The library to preload; tests that need it are skipped where it can't work."""
    here = platform.machine() == "x86_64" and shutil.which("gcc")
    need("cpu-mask", present=bool(here), fix=FIX)
    library = shared_folder("cpu_mask", build_mask) / "cpumask.so"
    works = subprocess.run(["true"], env=masked(library, "avx2"), capture_output=True, check=False)
    need("cpu-mask", present=works.returncode == 0, fix=FIX)
    return library


def build_mask(folder: Path) -> None:
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", SOURCE]
    subprocess.run([*command, "-o", folder / "cpumask.so"], check=True)


def masked(library: Path, kept: str) -> dict[str, str]:
    """The environment of a process that sees `avx512` (no VNNI), `avx2` or `sse` at most."""
    return {**os.environ, "LD_PRELOAD": str(library), "CPUMASK": kept}
