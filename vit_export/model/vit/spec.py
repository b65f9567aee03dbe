"""What differs between Vision Transformers, as one frozen value: `VitSpec`.

There are no subclasses of the model: a ViT of the paper, a DeiT or a DINOv2 is a `VitSpec`, and
`vit.eager.Vit` builds what it says. A combination that makes no sense, or that is not built yet,
is refused here, by name, before any work starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, Self

from vit_export.core.dataclass_checks import check_names, check_types
from vit_export.core.errors import RequestError

QkvLayout = Literal["interleaved", "stacked"]
AttentionScale = Literal["width", "head_dim"]
Mlp = Literal["gelu", "gelu_tanh", "quick_gelu", "swiglu"]
Positions = Literal["all", "no_registers", "patches"]
Pool = Literal["mean", "token", "patch_mean", "token_patch_mean", "map", "none"]
Answer = Literal["logits", "features", "tokens"]


@dataclass(frozen=True, kw_only=True)
class VitSpec:
    """One Vision Transformer, complete. Sizes in pixels or channels; images are (B, C, H, W)."""

    image_size: tuple[int, int] = (224, 224)
    """Height and width in pixels."""
    patch_size: int = 16
    """Side of the square patches in pixels: kernel and stride of the patch convolution."""
    channels: int = 3
    width: int = 768
    """Channels of a token: D."""
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over `width`, unless `mlp_hidden` gives it outright."""
    mlp_hidden: int | None = None
    mlp: Mlp = "gelu"
    """`gelu` is the erf form; `swiglu` is silu(a) * b of one linear, as DINOv2's giant has it."""
    qkv_layout: QkvLayout = "stacked"
    """Order of the rows of the fused projection: (qkv h d), or the seed's (h d qkv)."""
    attention_scale: AttentionScale = "head_dim"
    """Attention logits are divided by the square root of this."""
    norm_before_blocks: bool = False
    """CLIP's `ln_pre`."""
    norm_before_pool: bool = True
    """The final LayerNorm stands over all tokens."""
    norm_after_pool: bool = False
    """A LayerNorm stands over the pooled vector (the seed's head, timm's `fc_norm`)."""
    norm_eps: float = 1e-6
    patch_bias: bool = True
    qkv_bias: bool = True
    head_bias: bool = True
    layer_scale: bool = False
    class_token: bool = True
    distillation_token: bool = False
    """DeiT's second token; where the model classifies it has a head of its own, and the two answers
    are averaged."""
    register_tokens: int = 0
    positions: Positions = "all"
    """Which tokens the position embedding covers; registers go in after it where it skips them."""
    pool: Pool = "token"
    """`mean` runs over all tokens, prefix included; `patch_mean` over the patches alone;
    `token_patch_mean` puts the class token and the mean of the patches side by side; `map` has a
    learned probe attend over all tokens; `none` hands all of them out."""
    projection: int | None = None
    """Width of a projection without bias behind the pooled token (CLIP's embedding)."""
    classes: int | None = None
    """Rows of the classifier; None, or left out, hands out the pooled features."""
    dropout: float = 0.0
    """Probability, in training only."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def patches(self) -> int:
        """Number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches: class, distillation, registers."""
        return self.class_token + self.distillation_token + self.register_tokens

    @property
    def positioned_prefix(self) -> int:
        """How many of the prefix tokens, from the first, have a position."""
        without = {"all": 0, "no_registers": self.register_tokens, "patches": self.prefix_tokens}
        return self.prefix_tokens - without[self.positions]

    @property
    def tokens(self) -> int:
        """Length of the sequence, N."""
        return self.prefix_tokens + self.patches

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    @property
    def hidden(self) -> int:
        """Hidden width of the MLP."""
        return self.mlp_hidden if self.mlp_hidden is not None else int(self.width * self.mlp_ratio)

    @property
    def scale(self) -> float:
        """The factor on attention logits."""
        per = self.width if self.attention_scale == "width" else self.head_dim
        return float(per**-0.5)

    @property
    def pooled_width(self) -> int:
        """Length of the pooled vector."""
        return self.width * (2 if self.pool == "token_patch_mean" else 1)

    @property
    def answer(self) -> Answer:
        """What the answer to an image is."""
        if self.classes is not None:
            return "logits"
        return "tokens" if self.pool == "none" else "features"

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of the answer to one image: (K,), or (N, D) of tokens."""
        if self.pool == "none":
            return self.tokens, self.width
        return (self.classes or self.projection or self.pooled_width,)

    @property
    def classifies(self) -> bool:
        """Whether the answer is logits (else features)."""
        return self.classes is not None

    def __post_init__(self) -> None:
        check_types(self)
        self._check_sizes()
        self._check_tokens()

    def _check_sizes(self) -> None:
        for name in ("norm_eps", "mlp_ratio", "dropout"):
            if not isfinite(getattr(self, name)):
                raise RequestError(f"{name} is {getattr(self, name)}.", f"give {name} as a number.")
        positive = ("patch_size", "channels", "width", "depth", "heads", "hidden", "norm_eps")
        for name in positive:
            if getattr(self, name) <= 0:
                raise RequestError(f"{name} is {getattr(self, name)}.", f"give a positive {name}.")
        if any(side <= 0 or side % self.patch_size for side in self.image_size):
            height, width = self.image_size
            raise RequestError(
                f"patch_size {self.patch_size} does not divide the image of {height}x{width}.",
                f"take an image size whose sides are multiples of {self.patch_size}.",
            )
        if self.width % self.heads:
            raise RequestError(
                f"{self.heads} heads do not divide the width {self.width}.",
                f"take a number of heads that divides {self.width}.",
            )
        if not 0 <= self.dropout < 1:
            raise RequestError(f"dropout is {self.dropout}.", "give a probability below 1.")
        for name in ("classes", "projection"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise RequestError(f"{name} is {getattr(self, name)}.", f"leave {name} out.")

    def _check_tokens(self) -> None:
        if self.register_tokens < 0:
            raise RequestError(f"register_tokens is {self.register_tokens}.", "give 0 or more.")
        if self.pool.startswith("token") and not self.class_token:
            raise RequestError(
                f"pool = {self.pool!r} needs a class token.",
                "set class_token = true or pool = 'mean'.",
            )
        if self.pool == "token_patch_mean" and self.norm_after_pool:
            raise RequestError(
                "norm_after_pool has no meaning with pool = 'token_patch_mean'.",
                "set norm_after_pool = false.",
            )
        if self.distillation_token and self.pool not in {"token", "none"}:
            raise RequestError(
                "distillation_token needs pool = 'token'.",
                "set that, or distillation_token = false.",
            )
        if self.projection is not None and self.classifies:
            raise RequestError(
                "projection and classes exclude each other.", "keep the one the model has."
            )
        pooled = self.classifies or self.projection is not None or self.norm_after_pool
        if self.pool == "none" and pooled:
            raise RequestError(
                "pool = 'none' leaves nothing to classify, project or norm.",
                "leave classes, projection and norm_after_pool out, or set a pool.",
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """The spec with the given fields; `where` names their origin in errors.

        Raises:
            RequestError: an unknown field, a value of the wrong type, or a spec that can't be.
        """
        check_names(values, cls, where)
        values = dict(values)
        size = values.get("image_size")
        if isinstance(size, int):
            values["image_size"] = (size, size)
        elif isinstance(size, list):
            values["image_size"] = tuple(size)
        try:
            return cls(**values)
        except RequestError as error:
            raise RequestError(f"{where}: {error.message}", error.fix) from None
