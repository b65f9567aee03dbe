"""The outputs that `VitSpec.outputs` names, in eager PyTorch.

B is the batch, N the tokens, D the width and h the heads.
"""

from typing import TYPE_CHECKING, cast

from torch import Tensor

from vit_export.model.vit.outputs import VitOutput, read_output

if TYPE_CHECKING:
    from vit_export.model.vit.block import EncoderBlock
    from vit_export.model.vit.vit import Vit


def answer_outputs(vit: "Vit", image: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """Return every output of `vit.spec.outputs` for images (B, C, H, W), in that order."""
    values: dict[VitOutput, Tensor] = {}
    kept = {read_output(name) for name in vit.spec.outputs}
    x = vit.embedding_norm(vit.embedding(image))  # (B, N, D)
    for number, block in enumerate(cast("list[EncoderBlock]", list(vit.blocks)), 1):
        if VitOutput("attention", number) in kept:
            weights, _ = block.attention.attend(block.attention_norm(x), mask)  # (B, h, N, N)
            values[VitOutput("attention", number)] = weights
        x = block(x, mask)
        values[VitOutput("layer", number)] = x
        if VitOutput("normed_layer", number) in kept:
            values[VitOutput("normed_layer", number)] = vit.head.norm(x)
    tokens = vit.head.norm(x)
    values[VitOutput("tokens")] = tokens
    values[VitOutput("token")] = tokens[:, 0]
    values[VitOutput("patches")] = tokens[:, vit.spec.prefix_tokens :]
    if VitOutput("features") in kept:
        values[VitOutput("features")] = vit.head.pool_features(tokens)
    if VitOutput("logits") in kept:
        values[VitOutput("logits")] = vit.head.classify(tokens)
    return [values[output] for name in vit.spec.outputs if (output := read_output(name))]
