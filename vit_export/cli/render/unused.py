"""The tensors of a checkpoint that the model has no use for."""

from collections.abc import Iterator, Mapping

from vit_export.cli.render.blocks import Block, line

MOST_NAMES = 3
"""Most tensor names in one line."""


def describe_unused(unused: Mapping[str, str]) -> Iterator[Block]:
    """Yield one line per reason: a whole CLIP has hundreds of tensors for text."""
    for reason in dict.fromkeys(unused.values()):
        names = [name for name, its_reason in unused.items() if its_reason == reason]
        more = f", … ({len(names)})" if len(names) > MOST_NAMES else ""
        yield line(f"unused: {', '.join(names[:MOST_NAMES])}{more}: {reason}")
