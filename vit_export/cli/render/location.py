"""The error of an artifact in each module of the model."""

from collections.abc import Iterator

from vit_export.cli.render.blocks import Block, Table, line, row
from vit_export.validation.localize import Localization, ModuleComparison

COLUMNS = ("module", "max error", "allowed", "SNR dB", "worst sample")


def describe_location(location: Localization, *, verbose: bool = False) -> Iterator[Block]:
    """The error in each block, and in each module of the first one that exceeds its tolerance."""
    first = location.first
    yield Table(
        COLUMNS,
        tuple(
            row(
                *(module.name, f"{module.worst.max_abs:.2e}", f"{module.worst.allowed:.2e}"),
                *(f"{module.worst.snr_db:.1f}", module.worst.sample),
                style="" if module.worst.passed else "bold red",
            )
            for module in location.modules
            if verbose or _is_shown(module, first)
        ),
    )
    if first is None:
        text = f"{len(location.modules)} modules of {location.artifact} answer as eager PyTorch's"
        yield line(f"{text}, in {location.runtime}.")


def _is_shown(module: ModuleComparison, first: ModuleComparison | None) -> bool:
    """Whether it is a block, stands in none, or stands in the block of the first mismatch."""
    return not module.block or (first is not None and module.block == first.block)
