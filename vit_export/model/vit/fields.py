"""What differs between Vision Transformers: the fields of `VitSpec`, with their defaults."""

from dataclasses import dataclass

from vit_export.model.vit.choices import AttentionScale, Mlp, Pool, Positions, QkvLayout
from vit_export.model.vit.rotary import Rotary


@dataclass(frozen=True, kw_only=True)
class VitFields:
    """The fields of `VitSpec`; its images are (B, C, H, W)."""

    image_size: tuple[int, int] = (224, 224)
    """Height and width in pixels.

    The patches start at the top left. Pixels that fill no whole patch play no part.
    """
    patch_size: int = 16
    """Side of a square patch in pixels: kernel size and stride of the patch convolution."""
    channels: int = 3
    """Channels of an image."""
    width: int = 768
    """Channels of a token: D."""
    depth: int = 12
    """Number of encoder blocks."""
    heads: int = 12
    """Number of attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP divided by `width`; ignored if `mlp_hidden` is given."""
    mlp_hidden: int | None = None
    """Hidden width of the MLP."""
    mlp: Mlp = "gelu"
    """Activation of the MLP.

    `gelu` is the erf form; `swiglu` is silu(a) * b with a and b from one linear layer, as in
    DINOv2's giant.
    """
    qkv_layout: QkvLayout = "stacked"
    """Order of the rows of the fused projection: `stacked` is (qkv h d), `interleaved` (h d qkv).

    The seed document's model is interleaved.
    """
    attention_scale: AttentionScale = "head_dim"
    """Attention logits are divided by the square root of this size."""
    norm_before_blocks: bool = False
    """Whether a LayerNorm stands before the blocks (CLIP's `ln_pre`)."""
    norm_before_pool: bool = True
    """Whether the final LayerNorm runs over all tokens."""
    norm_after_pool: bool = False
    """Whether a LayerNorm runs over the pooled vector (the seed's head, timm's `fc_norm`)."""
    norm_in_attention: bool = False
    """Whether a LayerNorm stands before the output projection of each attention."""
    norm_in_mlp: bool = False
    """Whether a LayerNorm stands before the last layer of each block's MLP."""
    norm_eps: float = 1e-6
    """Epsilon of every LayerNorm."""
    patch_bias: bool = True
    """Whether the patch convolution has a bias."""
    qkv_bias: bool = True
    """Whether the fused projection has a bias."""
    head_bias: bool = True
    """Whether the classifier has a bias."""
    layer_scale: bool = False
    """Whether each residual branch ends with a LayerScale."""
    class_token: bool = True
    """Whether there is a class token."""
    distillation_token: bool = False
    """Whether DeiT's distillation token follows the class token.

    In a model with classes it has a classifier of its own, and the logits are the mean of both.
    Features are the mean of both tokens, as in timm.
    """
    register_tokens: int = 0
    """Number of register tokens (arXiv:2309.16588)."""
    positions: Positions = "all"
    """Tokens with a learned position; registers without one are inserted after the addition."""
    rotary: Rotary | None = None
    """How the places of the patches turn queries and keys; None if they do not."""
    relative_bias: bool = False
    """Whether each attention adds a learned bias by the relative place of two tokens (BEiT)."""
    pool: Pool = "token"
    """How tokens become one vector.

    `token` takes the class token; `mean` averages all tokens, prefix included; `patch_mean`
    averages the patches alone; `token_patch_mean` concatenates the class token and the mean of the
    patches; `map` lets a learned probe attend to all tokens; `none` returns all tokens.
    """
    pool_heads: int | None = None
    """Number of heads of the probe of `map`, if it is not that of the blocks."""
    pool_hidden: int | None = None
    """Hidden width of the MLP of `map`, if it is not that of the blocks."""
    projection: int | None = None
    """Width of a projection without bias behind the pooled vector (CLIP's embedding)."""
    classes: int | None = None
    """Number of classes; a model without a classifier returns features or tokens."""
    outputs: tuple[str, ...] = ()
    """What the model answers, by the names of `model.vit.outputs`; empty for what follows from
    `classes` and `pool`."""
    dropout: float = 0.0
    """Probability of dropping a value, in training only."""
