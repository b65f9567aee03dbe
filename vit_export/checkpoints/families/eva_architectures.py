"""Facts that only timm's code has: the arguments of its architectures with `EvaBlock`.

They are those of timm/models/eva.py in timm 1.0.31. The first pattern that matches a name wins.
"""

import re
from collections.abc import Mapping
from typing import Any

from vit_export.core.errors import RequestError
from vit_export.model.vit.rotary import Order, Rotary

UNSUPPORTED = (
    (r".*_sapiens2", "norms without a mean (RmsNorm)"),
    (r"eva02_enormous_.*", "norms behind attention and MLP (EvaBlockPostNorm)"),
)
"""Names of architectures to a part that the blocks of the others do not have."""
DINOV3 = {"use_rot_pos_emb": True, "rope_type": "dinov3", "rope_temperature": 100.0}
DINOV3 |= {"rope_rotate_half": True}
AXIAL = {"use_rot_pos_emb": True, "rope_type": "cat"}
COLUMNS = AXIAL | {"rope_grid_indexing": "xy"}
MIXED = COLUMNS | {"rope_type": "mixed", "global_pool": "token"}
EVA02 = AXIAL | {"ref_feat_shape": (16, 16)}
PE = COLUMNS | {"norm_eps": 1e-5, "rope_grid_offset": 1.0}
PE_CORE = PE | {"global_pool": "map", "attn_pool_num_heads": 8}
LARGEST_PE = {"rope_grid_offset": 0.0, "ref_feat_shape": (32, 32)}
ARGUMENTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (r"vit_.*_dinov3(_qkvb)?", DINOV3 | {"norm_eps": 1e-5}),
    (r"vit_.*_lingbot", DINOV3 | {"norm_eps": 1e-5, "global_pool": "token"}),
    (r"vit_.*_rope_mixed_ape_\d+", MIXED | {"no_embed_class": True}),
    (r"vit_.*_rope_mixed_\d+", MIXED),
    (
        r"vit_.*_rope_ape_\d+",
        COLUMNS | {"global_pool": "token", "rope_temperature": 100.0, "no_embed_class": True},
    ),
    (r"vit_.*_rope_\d+", COLUMNS | {"global_pool": "token", "rope_temperature": 100.0}),
    (r"vit_.*_rope_reg\d_gap_\d+", EVA02),
    (r"vit_pe_core_gigantic_.*", PE_CORE | LARGEST_PE),
    (r"vit_pe_core_base_.*", PE_CORE | {"ref_feat_shape": (14, 14)}),
    (r"vit_pe_core_.*", PE_CORE | {"ref_feat_shape": (24, 24)}),
    (r"vit_pe_(lang|spatial)_gigantic_.*", PE | LARGEST_PE),
    (r"vit_pe_(lang|spatial)_.*", PE | {"ref_feat_shape": (32, 32)}),
    (r"eva02_.*_clip_.*", EVA02 | {"global_pool": "token"}),
    (r"eva02_.*", EVA02),
    (r"eva_giant_.*_clip_.*", {"global_pool": "token"}),
    (r"eva_giant_.*", {}),
)
"""Arguments of `Eva` that no tensor shows, where they differ from its own; `norm_eps` is ours."""
DEFAULTS = {"norm_eps": 1e-6, "global_pool": "avg", "no_embed_class": False}
HEADS = (
    (r"vit_giant_.*_lingbot", 24),
    (r"vit_7b_.*", 32),
    (r"vit_huge_.*", 20),
    (r".*_(large|giant|gigantic)_.*", 16),
    (r".*_base_.*", 12),
    (r".*_betwixt_.*", 10),
    (r".*_(medium|mediumd)_.*", 8),
    (r".*_small_.*", 6),
    (r".*_tiny_.*", 3),
)
KINDS = ("cat", "dinov3", "mixed")
"""Values of `rope_type` that are supported."""


def list_arguments(architecture: str) -> dict[str, Any]:
    """Return the arguments of an architecture, with `num_heads` and the epsilon of its norms.

    Raises:
        RequestError: the architecture is unknown, or not supported.
    """
    part = next((why for name, why in UNSUPPORTED if re.fullmatch(name, architecture)), None)
    known = next((one for name, one in ARGUMENTS if re.fullmatch(name, architecture)), None)
    if part is not None or known is None:
        message = f"{architecture} of timm has {part or 'blocks (EvaBlock) of an unknown kind'}"
        raise RequestError(f"{message}, which is not supported yet.", "export another model.")
    heads = next((count for name, count in HEADS if re.fullmatch(name, architecture)), None)
    return {**DEFAULTS, "num_heads": heads, **known}


def is_known(architecture: str) -> bool:
    """Return whether timm builds an architecture with `EvaBlock`."""
    return any(re.fullmatch(name, architecture) for name, _ in (*ARGUMENTS, *UNSUPPORTED))


def read_rotary(arguments: Mapping[str, Any]) -> Rotary | None:
    """Return how queries and keys turn in a model with these arguments of `Eva`.

    Raises:
        RequestError: they turn in a way that is not supported.
    """
    if not arguments.get("use_rot_pos_emb", False):
        return None
    kind = arguments.get("rope_type", "cat")
    if kind not in KINDS:
        message = f"rope_type {kind!r} of timm is not supported yet."
        raise RequestError(message, "export another model.")
    first: Order = "columns" if arguments.get("rope_grid_indexing", "ij") == "xy" else "rows"
    if kind == "mixed":
        return Rotary(
            frequencies="learned", coordinates="indices", first=first, pairs="interleaved"
        )
    fields: dict[str, Any] = {
        "base": float(arguments.get("rope_temperature", 10000.0)),
        "offset": float(arguments.get("rope_grid_offset", 0.0)),
        "pairs": "halves" if arguments.get("rope_rotate_half", False) else "interleaved",
    }
    if kind == "cat":
        grid = arguments.get("ref_feat_shape")
        fields["reference_grid"] = (grid, grid) if isinstance(grid, int) else grid and tuple(grid)
        fields["coordinates"] = "indices"
    return Rotary(first=first, **fields)
