"""Names of tensors that show a model of a kind that is not supported, whatever else it has.

Most of these models have the names of timm's `vision_transformer` for all other parts, so that a
check of names and shapes alone would call them damaged.
"""

import re
from collections.abc import Collection

from vit_export.core.errors import RequestError

BLOCK = r"blocks\.\d+\."
KINDS = {
    r"(?!rope\.freqs$)(.*\.)?(rope|rotary)\w*\..*": "rotary positions of an unknown kind",
    r"(.*\.)?layers\.\d+\.blocks\..*": "windows of attention (Swin)",
    r".*\.rel_pos\..*": "relative positions of an unknown kind",
    r"blocks_token_only\..*": "class attention (CaiT)",
    BLOCK + r"attn\.lambda_\w+": "differential attention",
    BLOCK + r"attns\..*": "parallel blocks",
    BLOCK + r"in_proj\..*": "parallel attention and MLP",
    r"patch_embed\.backbone\..*": "a convolutional stem",
    r"embeds\.(proj|pos_embed).*": "images of any grid (NaFlexVit)",
    r"to_patch_embedding\..*": "the layers of vit-pytorch, or of code that follows it",
}
"""Patterns of whole names to the part that is not supported; the first match wins."""
NORM = BLOCK + r"norm1\."


def check_kind(names: Collection[str], where: str) -> None:
    """Raise RequestError if tensors show a model of a kind that is not supported."""
    for pattern, part in KINDS.items():
        name = next((name for name in names if re.fullmatch(pattern, name)), None)
        if name is not None:
            _refuse(where, name, part)
    norms = [name for name in names if re.fullmatch(NORM + r"\w+", name)]
    if norms and not any(name.endswith("bias") for name in norms):
        _refuse(where, norms[0], "norms without a mean and a bias (RmsNorm)")


def _refuse(where: str, name: str, part: str) -> None:
    message = f"{where}: {name} shows {part}, which is not supported yet."
    raise RequestError(message, "export another model.")
