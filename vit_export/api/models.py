"""Lists the models that ship."""

from vit_export.model.vit.presets import Preset, list_presets, load_preset
from vit_export.model.vit.summary import count_parameters


def models() -> list[tuple[Preset, int]]:
    """Return every preset that ships, with its number of parameters."""
    presets = [load_preset(name) for name in list_presets()]
    return [(preset, count_parameters(preset.spec)) for preset in presets]
