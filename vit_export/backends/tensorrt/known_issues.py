"""Versions of TensorRT that are known to get Vision Transformers wrong, with who saw it."""

from vit_export.backends.tensorrt.compute_capability import numbers_of
from vit_export.core.packages import versions_of

ISSUE = "https://github.com/NVIDIA/TensorRT/issues/"
PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
"""Names under which pip has it."""
WRONG: dict[tuple[int, ...], str] = {
    (10, 3): f"a ViT-B in fp16 predicted one class for everything ({ISSUE}4723)",
    (10, 4): f"a ViT-B was miscompiled in fp32 and NaN in fp16 ({ISSUE}4742)",
}
"""By major and minor number. What holds for one model need not hold for another: it is a warning,
and the proof on the GPU decides."""


def warning_of(kind: str, version: str) -> str:
    """What has to be said of an engine of `kind` and its version; empty where nothing is known.

    torch-tensorrt builds with the TensorRT that is installed beside it.
    """
    if kind == "torch":
        version = next(iter(versions_of(PACKAGES).values()), "")
    reason = None if kind == "rtx" else WRONG.get(numbers_of(version)[:2])
    return (
        f"TensorRT {version} is known to be wrong: {reason}; take 10.6 or later" if reason else ""
    )
