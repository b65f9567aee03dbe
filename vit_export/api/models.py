"""The models that ship."""

from vit_export.model.vit.presets import Preset, load_preset, preset_names
from vit_export.model.vit.summary import count_parameters


def models() -> list[tuple[Preset, int]]:
    """Every preset that ships, with its number of parameters."""
    presets = [load_preset(name) for name in preset_names()]
    return [(preset, count_parameters(preset.spec)) for preset in presets]
