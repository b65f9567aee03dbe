"""The layers of a model."""

from collections.abc import Iterator

from vit_export.cli.render.blocks import Block, line
from vit_export.model.vit.summary import Summary


def describe_summary(summary: Summary) -> Iterator[Block]:
    """Yield the table of layers, and the number of parameters as torchsummary counts them."""
    yield line(summary.table, highlight=False)
    torchsummary_count = summary.parameters - summary.token_parameters
    text = (
        f"{summary.model}: {summary.parameters:,} parameters. torchsummary, which the seed "
        f"document uses, counts {torchsummary_count:,}: it leaves out prefix tokens and positions "
        f"({summary.token_parameters:,})."
    )
    yield line(text, highlight=False)
