"""Facts that only timm's code has: heads, activation, epsilon and pool of its architectures.

They are those of timm/models/vision_transformer.py and deit.py in timm 1.0.31. In every table the
first pattern that matches a name wins.
"""

import re
from collections.abc import Sequence
from typing import Any

from vit_export.checkpoints.families.base import Facts

UNSUPPORTED = (
    (r"vit_.*rpn_\d+", "norms behind attention and MLP (ResPostBlock)"),
    (
        r"vit_pe_.*|vit_.*_rope_.*|.*dinov3.*|.*_lingbot|.*_sapiens2|eva02_.*|eva_giant_.*",
        "other blocks (EvaBlock) than these tensors",
    ),
    (r"vit_.*_\d+x2_\d+", "parallel blocks (ParallelThingsBlock)"),
    (r"vit_.*_xp_\d+|vit_pwee_.*", "parallel attention and MLP (ParallelScalingBlock)"),
    (r"vit_dpwee_.*|vit_dwee_.*|vit_dlittle_.*", "differential attention"),
    (r"naflexvit_.*", "images of any grid (NaFlexVit)"),
    (r"aimv2_.*|test_vit4", "norms without a mean (RmsNorm)"),
    (r"beit_.*|beitv2_.*", "relative positions (BeitBlock)"),
    (r"samvit_.*", "windows of attention and relative positions (SAM)"),
    (r"vit_.*_(r|r26|r50)_s\d+_.*|vit_.*_(resnet|mci_).*", "a convolutional stem (HybridEmbed)"),
    (r"vit_s?relpos_.*", "relative positions"),
)
"""Names of architectures to a part that a plain block does not have."""
KNOWN = r"(vit|deit|deit3|beit3|eva_large|flexivit|test_vit\d?)(_.*)?"
"""Names of the architectures that the other tables are about."""
HEADS = (
    (r"vit_base_patch16_gap_.*", 16),
    (r"vit_base_patch\d+_plus_.*|vit_so150m_.*", 14),
    (r"vit_giant_patch\d+_(reg\d_)?(dinov2|tipsv2|radio_v\d)", 24),
    (r"vit_so150m2_.*", 13),
    (r".*_(large|huge|giant|giantopt|gigantic|so400m|intern300m)(_.*)?", 16),
    (r".*_base(_.*)?", 12),
    (r"vit_betwixt_.*", 10),
    (r".*_(medium|mediumd)_.*", 8),
    (r".*_small(_.*)?", 6),
    (r"vit_little_.*", 5),
    (r"vit_(xsmall|wee)_.*", 4),
    (r".*_tiny_.*|test_vit3", 3),
    (r"test_vit2?", 2),
)
TANH = (
    r"vit_(base_patch32|giantopt_patch16|so400m_patch16)_siglip_.*|vit_large_.*_siglip_(gap_)?512"
)
ACTIVATIONS = (
    (r".*_quickgelu_.*", "quick_gelu"),
    (TANH, "gelu_tanh"),
    (r"vit_giant_patch14_(reg\d_)?(dinov2|tipsv2)", "swiglu"),
    (KNOWN, "gelu"),
)
EPSILONS = ((r".*_clip_.*|beit3_.*", 1e-5), (KNOWN, 1e-6))
POOLS = (
    (r".*_gap_.*|eva_large_.*|beit3_.*|test_vit2", "avg"),
    (r".*_siglip_.*|.*_map_.*|test_vit3", "map"),
    (KNOWN, "token"),
)
"""Names of architectures to `global_pool`."""
POSITIONS = (
    (r"deit3_.*|flexivit_.*|.*_radio_v\d|.*_reg\d_(dinov2|tipsv2)", "patches"),
    (r"vit_so150m.*|test_vit.*", "all"),
    (r".*_reg\d_gap_.*", "patches"),
    (KNOWN, "all"),
)
"""Names of architectures to the tokens with a position, which `no_embed_class` tells in timm."""


def find_unsupported(architecture: str) -> str | None:
    """Return the part of an architecture that is not supported; None if its blocks are plain."""
    part: str | None = _look_up(UNSUPPORTED, architecture)
    return part


def read_architecture_facts(architecture: str) -> Facts:
    """Return fields of VitSpec, with timm's name of the pool; none for an unknown architecture."""
    if not re.fullmatch(KNOWN, architecture):
        return {}
    tables = {"heads": HEADS, "mlp": ACTIVATIONS, "norm_eps": EPSILONS, "pool": POOLS}
    tables |= {"positions": POSITIONS}
    values = {field: _look_up(table, architecture) for field, table in tables.items()}
    return {field: value for field, value in values.items() if value is not None}


def _look_up(table: Sequence[tuple[str, Any]], architecture: str) -> Any:
    return next((value for pattern, value in table if re.fullmatch(pattern, architecture)), None)
