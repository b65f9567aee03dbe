"""What differs between Vision Transformers, as one frozen value: `VitSpec`.

The model has no subclasses: a ViT of the paper, a DeiT or a DINOv2 is a `VitSpec`, and
`model.vit.vit.Vit` builds it. A combination of fields that makes no sense or is not supported is
refused before any work starts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from vit_export.core.dataclass_checks import check_names, check_types
from vit_export.core.errors import RequestError
from vit_export.model.fusions import ExpectedFusions
from vit_export.model.signature import Signature, image_signature, make_signature
from vit_export.model.vit.choices import Answer
from vit_export.model.vit.fields import VitFields
from vit_export.model.vit.outputs import check_outputs, describe_output
from vit_export.model.vit.padding import pad_hidden_width
from vit_export.model.vit.rotary import read_rotary
from vit_export.model.vit.spec_checks import (
    check_parts,
    check_sizes,
    check_tokens,
    normalize_lists,
)

LATER_FIELDS = (
    *("rotary", "relative_bias", "norm_in_attention", "norm_in_mlp"),
    *("pool_heads", "pool_hidden", "outputs"),
)
"""Fields that the first versions did not have."""


@dataclass(frozen=True, kw_only=True)
class VitSpec(VitFields):
    """The complete description of one Vision Transformer; its images are (B, C, H, W)."""

    def __post_init__(self) -> None:
        check_types(self)
        check_sizes(self)
        check_tokens(self)
        check_parts(self)
        check_outputs(self)

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
        if self.positions == "all":
            return self.prefix_tokens
        return self.prefix_tokens - self.register_tokens if self.positions == "no_registers" else 0

    @property
    def positioned(self) -> int:
        """Number of tokens with a learned position."""
        return 0 if self.positions == "none" else self.positioned_prefix + self.patches

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
            layer_norms=self.depth * (2 + self.norm_in_attention + self.norm_in_mlp)
            + sum(norms)
            + pools,
            activations=self.depth + pools,
            activation=self.mlp,
        )

    @property
    def signature(self) -> Signature:
        """What a model of this spec takes and answers."""
        if self.outputs:
            outputs = tuple(describe_output(self, name) for name in self.outputs)
            return make_signature((self.channels, *self.image_size), outputs)
        return image_signature((self.channels, *self.image_size), self.answer, self.answer_shape)

    def gemms(self, batch: int) -> list[tuple[int, int, int]]:
        """Return (rows, inner, columns) of a lowered block's matrix products for `batch` images."""
        rows, width = self.tokens * batch, self.width
        hidden = self.hidden if self.norm_in_mlp else pad_hidden_width(self.hidden)
        return [
            (rows, width, 3 * width),
            (rows, width, width),
            (rows, width, hidden),
            (rows, hidden, width),
        ]

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields, for a manifest; those in `LATER_FIELDS` only if they are set.

        So earlier versions read the manifests of the models that they know.
        """
        later = {one.name: one.default for one in fields(self) if one.name in LATER_FIELDS}
        values = asdict(self)
        return {n: v for n, v in values.items() if n not in later or v != later[n]}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """Return the spec with the fields in `values`; errors name `where`, their origin.

        Raises:
            RequestError: a field is unknown or of the wrong type, or the spec is impossible.
        """
        check_names(values, cls, where)
        try:
            return cls(**normalize_lists(values) | read_rotary(values))
        except RequestError as error:
            raise RequestError(f"{where}: {error.message}", error.fix) from None
