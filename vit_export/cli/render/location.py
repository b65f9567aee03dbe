"""The error of an artifact in each module of the model."""

from collections.abc import Iterator

from vit_export.cli.render.blocks import Block, Table, line, row
from vit_export.validation.localize import Localization, ModuleComparison

COLUMNS = ("module", "max error", "allowed", "SNR dB", "worst sample")


def describe_location(location: Localization, *, verbose: bool = False) -> Iterator[Block]:
    """Yield the error of each block, and of each module of the first block that is wrong."""
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
        modules = f"{len(location.modules)} modules of {location.artifact}"
        yield line(f"{modules} answer as those of eager PyTorch, in {location.runtime}.")


def _is_shown(module: ModuleComparison, first: ModuleComparison | None) -> bool:
    """Return whether it is a block, is outside of blocks, or is in the first wrong block."""
    return not module.block or (first is not None and module.block == first.block)
