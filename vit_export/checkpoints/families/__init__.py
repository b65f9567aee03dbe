"""The checkpoint families; a new one is one file and one line here.

The first family whose marks are all present wins, so a family with an additional mark comes first.
"""

from collections.abc import Collection, Mapping

import torch

from vit_export.checkpoints.families import (
    beit,
    clip,
    dinov3,
    einops,
    eva,
    huggingface,
    siglip,
    timm,
    tips,
    torchvision,
)
from vit_export.checkpoints.families.base import Config, Family
from vit_export.checkpoints.families.naming import describe_closest, find_prefix
from vit_export.checkpoints.families.translation import check_supported
from vit_export.checkpoints.families.unsupported import check_kind
from vit_export.core.errors import RequestError
from vit_export.model.vit.state import StateDict

FAMILIES: tuple[Family, ...] = (
    einops.OURS,  # names of `model.vit.vit.Vit`
    einops.SEED,  # nn.Sequential names of einops ViTs as in blogs
    beit.TIMM,  # timm's names and a table of relative positions
    eva.EVA,  # timm's names and biases of q alone, or gamma_1
    eva.PE_CORE,  # timm's names, a norm before the blocks and a pool with a probe
    eva.PE,  # timm's names, a norm before the blocks and none behind them
    timm.DINOV2_WITH_REGISTERS,
    timm.DINOV2,  # timm's names and a mask token
    tips.TIPS,  # the names of DINOv2 with registers, and CLIP's of an MLP
    timm.TIMM_CLIP,  # timm's names and a norm before the blocks
    timm.TIMM_SIGLIP,  # timm's names and a pool with a probe
    timm.TIMM,
    dinov3.GATED,  # DINOv3's names and gates
    dinov3.DINOV3,
    huggingface.DEIT_TEACHER,  # DeiT's names and a second classifier
    huggingface.DEIT,  # ViT's names and a distillation token
    beit.BEIT,  # ViT's names and a table of relative positions
    huggingface.VIT,
    huggingface.IJEPA_CLASSIFIER,  # ViT's names without a class token
    huggingface.IJEPA,
    huggingface.DINOV2_WITH_REGISTERS,
    huggingface.DINOV2,
    clip.CLASSIFIER,  # CLIP's names and a classifier
    clip.HUGGING_FACE,
    siglip.CLASSIFIER,  # SigLIP's names and a classifier
    siglip.VISION_MODEL,
    siglip.HEADLESS,  # SigLIP's names without a probe
    clip.OPENAI,
    torchvision.TORCHVISION,
)
SAME_NAMES: Mapping[str, Family] = dict.fromkeys(tips.TIPS.model_types, tips.TIPS)
"""Families that may have the names of another one, by the `model_type` that tells them apart."""


def recognize(names: Collection[str]) -> Family | None:
    """Return the family that tensor names belong to; None if there is none."""
    return next((family for family in FAMILIES if family.recognizes(names)), None)


def find_family(state: StateDict, where: str, config: Config | None = None) -> Family:
    """Return the family that the tensor names of `state` belong to.

    Args:
        state: tensors of a checkpoint.
        where: the checkpoint, for errors.
        config: content of its config.json, which tells families with the same names apart.

    Raises:
        RequestError: no family matches, where the message names the closest and all known ones; or
            a tensor is on the meta device, sparse or quantized.
    """
    _check_plain(state, where)
    check_kind(state.keys(), where)
    other = SAME_NAMES.get(str((config or {}).get("model_type")))
    family = other if other and other.recognizes(state) else recognize(state.keys())
    if family is None:
        raise _unknown_family(state, where)
    return family


def _unknown_family(state: StateDict, where: str) -> RequestError:
    first = ", ".join(list(state)[:3])
    message = f"{where}: its tensors ({first}, …) belong to no known family."
    match = find_prefix(FAMILIES, state)
    if match is not None:
        prefix, family = match
        names = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
        for name in names:  # raises what the prefix would only lead to
            check_supported(family, name)
        return RequestError(
            f"{message} Without the prefix {prefix!r} they belong to {family.name}.",
            f"give --prefix {prefix} to leave the other tensors out.",
        )
    known = f"known: {', '.join(family.name for family in FAMILIES)}."
    return RequestError(message + describe_closest(FAMILIES, state), known)


def _check_plain(state: StateDict, where: str) -> None:
    """Raise RequestError unless every tensor is dense, unquantized and holds numbers."""
    for name, tensor in state.items():
        if tensor.is_meta:
            message = f"{where}: {name} has a shape but no values (meta device)."
            raise RequestError(message, "load the weights before you save or export them.")
        if tensor.layout != torch.strided or tensor.is_quantized:
            message = f"{where}: {name} is sparse or quantized."
            raise RequestError(message, "save it dense and unquantized: to_dense(), dequantize().")
