"""The folder of installed emulators, and what is in it."""

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from vit_export.core.errors import MissingError
from vit_export.validation.emulation.components import COMPONENTS, NEEDS, Component
from vit_export.validation.emulation.cpus import WASM, EmulatedCpu

INSTALL = "vit-export emulate --install"
CONTAINER = (
    'docker run --rm --platform linux/amd64 -v "$PWD":/work -w /work python:3.11-bookworm sh -c '
    "'apt-get update && apt-get install -y npm && pip install . && "
    "vit-export emulate --install && vit-export validate FILE.onnx --on NAMES'"
)
"""What to run where the emulators can't be installed (podman takes the same words)."""


def find_folder() -> Path:
    """Return the folder of all emulators; it need not exist."""
    override = os.environ.get("VIT_EXPORT_EMULATION")
    if override:
        return Path(override)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "vit-export", "emulation")


def locate(component: Component) -> Path:
    """Return the folder of `component`; it exists if the component is installed."""
    return find_folder() / component.key


def is_installed(component: Component) -> bool:
    """Return whether `component` is installed in this very version."""
    return locate(component).is_dir()


def check_machine() -> None:
    """Raise MissingError unless the emulators can be installed and run on this machine."""
    is_debian = shutil.which("apt-get") is not None and shutil.which("dpkg") is not None
    if sys.platform != "linux" or platform.machine() != "x86_64" or not is_debian:
        system = f"{platform.system()} on {platform.machine()}"
        message = f"The emulators need Debian or Ubuntu on x86-64; this is {system}."
        raise MissingError(message, f"in a clone of vit-export, run {CONTAINER}")


def check_installed(cpus: Iterable[EmulatedCpu]) -> None:
    """Raise MissingError unless everything that emulates `cpus` is installed."""
    chosen = list(cpus)
    needed = {one for cpu in chosen for one in NEEDS[cpu.architecture]}
    missing = [one.title for one in COMPONENTS if one in needed and not is_installed(one)]
    if missing:
        check_machine()
        names = ",".join(cpu.name for cpu in chosen)
        raise MissingError(f"--on {names} needs {'; '.join(missing)}.", INSTALL)
    if any(cpu.architecture == WASM for cpu in chosen) and shutil.which("node") is None:
        raise MissingError("--on wasm needs Node.js.", "apt-get install nodejs")
