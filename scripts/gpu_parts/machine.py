"""The parts that need no GPU of their own: the folder, the machine, what docs promise a device."""

import ctypes
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from gpu_parts.context import Context, call
from gpu_parts.folder import find_damage
from gpu_parts.results import Row

PACKAGES = (
    *("vit-export", "torch", "onnxruntime", "numpy", "pillow", "click", "matplotlib", "einops"),
    *("onnx", "onnx-ir", "tensorrt", "tensorrt-rtx-cu13", "torch-tensorrt"),
)
QUERY = "name,compute_cap,driver_version,memory.total,power.limit,clocks.max.sm"
MISSING = 3
"""The exit code where this machine lacks something."""
DRIVERS = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")


def has_gpu() -> bool:
    """Return whether CUDA's driver is here and shows a GPU."""
    count = ctypes.c_int()
    for name in DRIVERS:
        with suppress(OSError):
            driver = ctypes.CDLL(name)
            if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
                return count.value > 0
    return False


def check_folder(context: Context) -> Iterator[Row]:
    """Yield whether every file of the folder is the one that was prepared."""
    problems = find_damage(context.folder, context.contents)
    total = sum(size for size, _ in context.contents.files.values())
    facts = "; ".join(problems) or f"{len(context.contents.files)} files, {total / 1e6:.1f} MB"
    yield Row(
        case="size and SHA-256 of every file", outcome="FAILED" if problems else "ok", facts=facts
    )


def describe_machine() -> dict[str, str]:
    """Return card, driver, system and versions, for the head of the results."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return {
        "card": query_card() or "none",
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": ", ".join(versions),
    }


def query_card() -> str:
    """Return what nvidia-smi says of the cards; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    words = [program, f"--query-gpu={QUERY}", "--format=csv,noheader"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    return "; ".join(done.stdout.split("\n")).strip("; ") if done.returncode == 0 else ""


def run_doctor(context: Context) -> Iterator[Row]:
    """Yield what `doctor` says of this machine, one row per target."""
    answer = call(context.work, "doctor", "--json")
    targets = answer.document
    if not isinstance(targets, list | dict):
        yield Row(case="doctor", outcome="FAILED", facts=answer.sentence)
        return
    rows = targets if isinstance(targets, list) else targets.get("targets", [targets])
    for one in rows:
        note = one.get("machine") or one.get("note") or ""
        works = "works" if one.get("works") else "does not work"
        yield Row(
            case=f"doctor: {one.get('name', one.get('target'))}",
            outcome="recorded",
            facts=f"{works}; {note}",
        )


def run_device_commands(context: Context) -> Iterator[Row]:
    """Yield what `validate`, `predict` and `bench` of the installed wheel say, as on a device."""
    file = context.folder / "files" / "fashion.pt"
    image = context.folder / "images" / "bag_1.png"
    answer = call(context.work, "validate", file, "--json", "--quiet")
    status = (answer.document or {}).get("status", answer.sentence)
    yield _row("validate fashion.pt", status == "PROVEN" and answer.code == 0, status)
    answer = call(context.work, "predict", file, image, "--top", "1", "--json")
    classes = [one.get("classes") for one in answer.document or []]
    yield _row("predict bag_1.png", classes == [["Bag"]], f"{classes or answer.sentence}")
    answer = call(context.work, "bench", file, "--batch", "1", "--json", "--quiet")
    if answer.code == MISSING and "Fix: pip install" in answer.err:
        yield Row(case="bench fashion.pt", outcome="recorded", facts=answer.sentence)
        return
    rows = (answer.document or {}).get("rows", [])
    facts = "; ".join(f"{one['name']} {one['p50_ms']:.2f} ms" for one in rows)
    yield _row("bench fashion.pt (CPU)", bool(rows) and answer.code == 0, facts or answer.sentence)


def _row(case: str, passed: bool, facts: str) -> Row:  # noqa: FBT001 the one thing that it decides
    return Row(case=case, outcome="ok" if passed else "FAILED", facts=facts)
