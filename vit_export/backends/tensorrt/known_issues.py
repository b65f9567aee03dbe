"""Versions of TensorRT that are known to get Vision Transformers wrong, with the report of each."""

from vit_export.backends.tensorrt.compute_capability import parse_version

ISSUE = "https://github.com/NVIDIA/TensorRT/issues/"
WRONG: dict[tuple[int, ...], str] = {
    (10, 3): f"a ViT-B in fp16 predicted one class for everything ({ISSUE}4723)",
    (10, 4): f"a ViT-B was miscompiled in fp32 and NaN in fp16 ({ISSUE}4742)",
}
"""By major and minor number. What is wrong for one model need not be wrong for another, so this is
a warning, and the proof on the GPU decides."""


def find_known_issue(version: str) -> str:
    """Return what to warn of in a version of TensorRT; empty where nothing is known."""
    reason = WRONG.get(parse_version(version)[:2])
    if reason is None:
        return ""
    return f"TensorRT {version} is known to be wrong: {reason}; take 10.6 or later"
