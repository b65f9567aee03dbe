"""What differs between Vision Transformers, as one frozen value: `VitSpec`.

The model has no subclasses: a ViT of the paper, a DeiT or a DINOv2 is a `VitSpec`, and
`model.vit.vit.Vit` builds it. A combination of fields that makes no sense or is not supported is
refused before any work starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vit_export.core.dataclass_checks import check_names, check_types
from vit_export.core.errors import RequestError
from vit_export.model.fusions import ExpectedFusions
from vit_export.model.signature import Signature, image_signature
from vit_export.model.vit.choices import Answer, AttentionScale, Mlp, Pool, Positions, QkvLayout
from vit_export.model.vit.padding import pad_hidden_width
from vit_export.model.vit.spec_checks import check_sizes, check_tokens, normalize_size


@dataclass(frozen=True, kw_only=True)
class VitSpec:
    """The complete description of one Vision Transformer; its images are (B, C, H, W)."""

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
    """Tokens that have a position; registers without one are inserted after the addition."""
    pool: Pool = "token"
    """How tokens become one vector.

    `token` takes the class token; `mean` averages all tokens, prefix included; `patch_mean`
    averages the patches alone; `token_patch_mean` concatenates the class token and the mean of the
    patches; `map` lets a learned probe attend to all tokens; `none` returns all tokens.
    """
    projection: int | None = None
    """Width of a projection without bias behind the pooled vector (CLIP's embedding)."""
    classes: int | None = None
    """Number of classes; a model without a classifier returns features or tokens."""
    dropout: float = 0.0
    """Probability of dropping a value, in training only."""

    def __post_init__(self) -> None:
        check_types(self)
        check_sizes(self)
        check_tokens(self)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of whole patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def covered_size(self) -> tuple[int, int]:
        """Height and width in pixels of the part of an image that the patches cover."""
        return self.grid[0] * self.patch_size, self.grid[1] * self.patch_size

    @property
    def patches(self) -> int:
        """Number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def prefix_tokens(self) -> int:
        """Number of tokens before the patches: class, distillation, registers."""
        return self.class_token + self.distillation_token + self.register_tokens

    @property
    def positioned_prefix(self) -> int:
        """Number of prefix tokens, from the first, that have a position."""
        without = {"all": 0, "no_registers": self.register_tokens, "patches": self.prefix_tokens}
        return self.prefix_tokens - without[self.positions]

    @property
    def tokens(self) -> int:
        """Length of the sequence: N."""
        return self.prefix_tokens + self.patches

    @property
    def head_dim(self) -> int:
        """Channels of one attention head: d."""
        return self.width // self.heads

    @property
    def hidden(self) -> int:
        """Hidden width of the MLP."""
        return self.mlp_hidden if self.mlp_hidden is not None else int(self.width * self.mlp_ratio)

    @property
    def scale(self) -> float:
        """Factor on the attention logits."""
        size = self.width if self.attention_scale == "width" else self.head_dim
        return float(size**-0.5)

    @property
    def pooled_width(self) -> int:
        """Length of the pooled vector."""
        return self.width * (2 if self.pool == "token_patch_mean" else 1)

    @property
    def pools_two_tokens(self) -> bool:
        """Whether the answer is the mean of the class token's and the distillation token's."""
        return self.distillation_token and self.pool == "token"

    @property
    def answer(self) -> Answer:
        """Meaning of the model's output."""
        if self.classes is not None:
            return "logits"
        return "tokens" if self.pool == "none" else "features"

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of the answer to one image: (K,), or (N, D) for tokens."""
        if self.pool == "none":
            return self.tokens, self.width
        return (self.classes or self.projection or self.pooled_width,)

    @property
    def classifies(self) -> bool:
        """Whether the answer is logits."""
        return self.classes is not None

    @property
    def expected_fusions(self) -> ExpectedFusions:
        """Fused nodes of the model's graph in its best form."""
        pools = int(self.pool == "map")
        norms = (self.norm_before_blocks, self.norm_before_pool, self.norm_after_pool)
        return ExpectedFusions(
            attentions=self.depth,
            layer_norms=2 * self.depth + sum(norms) + pools,
            activations=self.depth + pools,
            activation=self.mlp,
        )

    @property
    def signature(self) -> Signature:
        """What a model of this spec takes and answers."""
        return image_signature((self.channels, *self.image_size), self.answer, self.answer_shape)

    def gemms(self, batch: int) -> list[tuple[int, int, int]]:
        """Return (rows, inner, columns) of a lowered block's matrix products for `batch` images."""
        rows, width, hidden = self.tokens * batch, self.width, pad_hidden_width(self.hidden)
        return [
            (rows, width, 3 * width),
            (rows, width, width),
            (rows, width, hidden),
            (rows, hidden, width),
        ]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """Return the spec with the fields in `values`; errors name `where`, their origin.

        Raises:
            RequestError: a field is unknown or of the wrong type, or the spec is impossible.
        """
        check_names(values, cls, where)
        try:
            return cls(**normalize_size(values))
        except RequestError as error:
            raise RequestError(f"{where}: {error.message}", error.fix) from None
