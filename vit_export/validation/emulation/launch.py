"""The command that starts a worker on an emulated CPU."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import vit_export
from vit_export.core.cpu import ARM64
from vit_export.validation.emulation.components import (
    ARM64_PYTHON,
    ONNX_RUNTIME_FOR_WEB,
    QEMU,
    QEMU_USER,
)
from vit_export.validation.emulation.cpus import WASM, EmulatedCpu
from vit_export.validation.emulation.store import locate

WORKER = f"{__package__}.worker"
"""The module that answers; it imports ONNX Runtime, so nothing here imports it."""
WORKER_FOR_WEB = Path(__file__).with_name("worker.mjs")
PACKAGES = "packages"
"""Folder of the wheels, beside the root of Debian's packages."""
START = "import sys; sys.path[:] = [*sys.path, *sys.argv.pop(1).split('\\n')]; import runpy; "
RUN_WORKER = f"{START}runpy.run_module({WORKER!r}, run_name='__main__')"
"""The worker, with the folders of its packages behind the standard library's."""


@dataclass(frozen=True)
class Launch:
    """How a worker starts."""

    command: tuple[str, ...]
    emulator: str
    """Name and version of what emulates."""


def plan_launch(cpu: EmulatedCpu, product: Path) -> Launch:
    """Return the command that starts a worker on `cpu`, with the file of the product."""
    if cpu.architecture == WASM:
        package = locate(ONNX_RUNTIME_FOR_WEB) / "package"
        command = (shutil.which("node") or "node", str(WORKER_FOR_WEB), str(package), str(product))
        return Launch(command, "Node.js")
    binaries = locate(QEMU_USER) / "usr" / "bin"
    own = Path(vit_export.__file__).parent.parent
    if cpu.architecture == ARM64:
        root = locate(ARM64_PYTHON)
        qemu = [str(binaries / "qemu-aarch64"), "-L", str(root)]
        python, folders = root / "usr" / "bin" / "python3.11", [root / PACKAGES, own]
    else:
        qemu = [str(binaries / "qemu-x86_64")]
        python, folders = Path(sys.executable), [*_find_packages(), own]
    code = ("-I", "-S", "-c", RUN_WORKER, "\n".join(map(str, folders)), str(product))
    return Launch((*qemu, "-cpu", cpu.model, str(python), *code), f"QEMU {QEMU} as {cpu.model}")


def _find_packages() -> Sequence[Path]:
    """Return the folders of NumPy and ONNX Runtime on this machine."""
    specs = [find_spec(name) for name in ("numpy", "onnxruntime")]
    return [Path(spec.origin).parent.parent for spec in specs if spec and spec.origin]
