"""The models that ship."""

from collections.abc import Iterator, Sequence

from vit_export.cli.render.blocks import Block, Row, Table, row
from vit_export.model.vit.presets import Preset

COLUMNS = ("model", "parameters", "image", "classes", "weights")


def describe_models(presets: Sequence[tuple[Preset, int]]) -> Iterator[Block]:
    """Yield one row per preset with its number of parameters."""
    yield Table(COLUMNS, tuple(_row(preset, parameters) for preset, parameters in presets))


def _row(preset: Preset, parameters: int) -> Row:
    height, width = preset.spec.image_size
    return row(
        preset.name,
        f"{parameters:,}",
        f"{height}x{width}x{preset.spec.channels}",
        str(preset.spec.classes or "features"),
        "shipped" if preset.weights else "-",
    )
