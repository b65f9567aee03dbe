"""The head of a ViT with several named outputs, and a block that answers its attention too.

B is the batch, N the tokens, T those that the last block computes, D the width and h the heads.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from vit_export.model.vit.block import EncoderBlock, MultiHeadAttention
from vit_export.model.vit.head import Head
from vit_export.model.vit.lowering.block import (
    AttentionMatmuls,
    LoweredAttention,
    LoweredBlock,
)
from vit_export.model.vit.lowering.head import LoweredHead, TokenHead, count_pooled_tokens
from vit_export.model.vit.lowering.last_block import TokenBlock
from vit_export.model.vit.outputs import VitOutput, read_output
from vit_export.model.vit.spec import VitSpec

Values = Mapping[VitOutput, Tensor]


def lower_last_of_several(block: EncoderBlock, head: Head) -> tuple[nn.Module, "OutputsHead"]:
    """Return the lowered last block of a model with named outputs, and the head behind it.

    The block computes the class token alone if no output needs others.
    """
    spec = head.spec
    if all(_needs_token_alone(spec, name) for name in spec.outputs):
        return TokenBlock(block, spec), OutputsHead(head, count_pooled_tokens(spec))
    return lower_block(block, spec, spec.depth), OutputsHead(head, spec.tokens)


def lower_block(block: EncoderBlock, spec: VitSpec, number: int) -> nn.Module:
    """Return the lowered block of this number, from 1, which may answer its attention too."""
    kind = MappedBlock if f"attention_{number}" in spec.outputs else LoweredBlock
    return kind(block, spec.tokens)


def _needs_token_alone(spec: VitSpec, name: str) -> bool:
    output = read_output(name)
    if output is None or output.block:
        return output is not None and output.block < spec.depth
    return output.kind == "token" or (
        output.kind in {"logits", "features"} and spec.pool == "token"
    )


class MappedMatmuls(AttentionMatmuls):
    """softmax(q kᵀ + bias) v, (B, h, N, d), and the softmax, (B, h, N, N)."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override] # one more tensor than the block that answers no attention
        scores = queries @ keys.transpose(2, 3)
        weights = (scores if self.bias is None else scores + self.bias).softmax(dim=-1)
        return weights @ values, weights


class MappedAttention(LoweredAttention):
    """Attention of one block, (B·N, D) to (B·N, D), and how much each token attends to another."""

    def __init__(self, attention: MultiHeadAttention, scale: nn.Module, tokens: int) -> None:
        super().__init__(attention, scale, tokens)
        self.products = MappedMatmuls(attention)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override] # as above
        queries, keys, values = (part.transpose(1, 2) for part in self.split_heads(self.qkv(x)))
        out, weights = self.products(queries, keys, values)
        rows = self.norm(out.transpose(1, 2).reshape(-1, self.width))
        return self.projection(rows), weights


class MappedBlock(LoweredBlock):
    """One encoder block, (B·N, D) to (B·N, D), and its attention, (B, h, N, N)."""

    def __init__(self, block: EncoderBlock, tokens: int) -> None:
        super().__init__(block, tokens)
        self.attention = MappedAttention(block.attention, block.attention_scale, tokens)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override] # as above
        attended, weights = self.attention(self.attention_norm(x))
        x = x + attended
        return x + self.mlp(self.mlp_norm(x)), weights


class OutputsHead(nn.Module):
    """The T tokens of the last block, (B·T, D), and values of earlier blocks to all outputs."""

    def __init__(self, head: Head, tokens: int) -> None:
        super().__init__()
        self.spec, self.tokens = head.spec, tokens
        self.norm = head.norm
        self.answer = TokenHead(head) if head.spec.pool == "token" else LoweredHead(head)

    def forward(self, x: Tensor, values: Values) -> tuple[Tensor, ...]:
        normed = self.norm(x)
        outputs = (read_output(name) for name in self.spec.outputs)
        return tuple(self._answer(one, x, normed, values) for one in outputs if one is not None)

    def _answer(self, output: VitOutput, x: Tensor, normed: Tensor, values: Values) -> Tensor:
        if output.kind == "attention":
            return values[output]
        if output.block:
            rows = values.get(VitOutput("layer", output.block), x)
            rows = rows if output.kind == "layer" else self.norm(rows)
            return rows.reshape(-1, self.spec.tokens, self.spec.width)
        if output.kind in {"logits", "features"}:
            pooled = self._take_first(normed) if self.spec.pool == "token" else normed
            answer = self.answer.classify if output.kind == "logits" else self.answer.pool_features
            return answer(pooled)
        tokens = normed.reshape(-1, self.tokens, self.spec.width)
        if output.kind == "token":
            return tokens[:, 0]
        return tokens[:, self.spec.prefix_tokens :] if output.kind == "patches" else tokens

    def _take_first(self, normed: Tensor) -> Tensor:
        """Return the tokens that the pool reads, (B·K, D)."""
        count = count_pooled_tokens(self.spec)
        if count == self.tokens:
            return normed
        tokens = normed.reshape(-1, self.tokens * self.spec.width)
        return tokens[:, : count * self.spec.width].reshape(-1, self.spec.width)
