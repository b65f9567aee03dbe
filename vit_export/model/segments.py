"""A module as the segments that its input goes through one after the other."""

from torch import nn

from vit_export.model.vit.vit import Vit


def split_into_segments(module: nn.Module) -> dict[str, nn.Module]:
    """The segments of `module` by name, in running order; together they compute what it computes.

    The segments of a Vit are its embedding, blocks and head. Any other module is one segment,
    whose name is empty; so is a Vit with named outputs, which may come from any block.
    """
    if not isinstance(module, Vit) or module.spec.outputs:
        return {"": module}
    return {
        "embedding": module.embedding,
        "embedding_norm": module.embedding_norm,
        **{f"blocks.{i}": block for i, block in enumerate(module.blocks)},
        "head": module.head,
    }
