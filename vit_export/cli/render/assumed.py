"""What was assumed about a checkpoint."""

from collections.abc import Iterator, Mapping
from typing import Any

from vit_export.checkpoints.assumptions import NO_READING, describe_assumptions, list_options
from vit_export.cli.render.blocks import Block, line


def describe_assumed(assumed: Mapping[str, Any]) -> Iterator[Block]:
    """Yield one line with the assumptions and the options that settle them, if there are any.

    The note on the preprocessing has a line of its own.
    """
    reading = {name: value for name, value in assumed.items() if name not in NO_READING}
    if reading:
        options = ", ".join(list_options(reading))
        yield line(f"assumed: {describe_assumptions(reading)} (settled by {options})")
