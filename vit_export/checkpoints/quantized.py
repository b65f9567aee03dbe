"""Weights in the forms of quantization libraries and of FSDP, by the names that these add."""

import re
from collections.abc import Iterable
from pathlib import Path

from vit_export.core.errors import RequestError

DEQUANTIZE = "give the weights before they were quantized, or dequantize them: model.dequantize()."
FORMS = {
    r"(?:.*\.)?(?:SCB|weight_format|weight\.(?:absmax|quant_map|quant_state\..*|nested_.*))": (
        "quantized by bitsandbytes",
        DEQUANTIZE,
    ),
    r"(?:.*\.)?(?:qweight|qzeros|scales|g_idx)": ("quantized by GPTQ or AWQ", DEQUANTIZE),
    r"(?:.*\.)?(?:weight_scale|weight_scale_inv|weight_zero_point|input_scale|weight_packed)": (
        "quantized, with scales beside the weights",
        DEQUANTIZE,
    ),
    r"(?:.*\.)?(?:weight_fake_quant|activation_post_process|_packed_params)\..*": (
        "quantized by torch.ao",
        "give the weights before they were quantized.",
    ),
    r"(?:.*\.)?_?flat_param(?:_\d+)?": (
        "flattened by FSDP",
        "save the whole state dict where the file was made: StateDictType.FULL_STATE_DICT.",
    ),
}
"""Patterns of names to what the weights are, and what to do."""


def check_form(names: Iterable[str], path: Path) -> None:
    """Raise RequestError unless the weights are plain numbers under the names of their layers."""
    for name in names:
        for pattern, (form, fix) in FORMS.items():
            if re.fullmatch(pattern, name):
                raise RequestError(f"{path}: its weights are {form}: it holds {name}.", fix)
