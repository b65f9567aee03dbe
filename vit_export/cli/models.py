"""`vit-export models`: the models that ship."""

from typing import TYPE_CHECKING, Any

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import JSON

if TYPE_CHECKING:
    from vit_export.model.vit.presets import Preset


@click.command()
@options(JSON)
def models(*, as_json: bool) -> None:
    """List the models that ship, with parameters, image size, and whether they carry weights."""
    from vit_export import api
    from vit_export.cli.render.models import describe_models
    from vit_export.cli.render.output import show, show_json

    presets = api.models()
    if as_json:
        show_json([_to_mapping(preset, parameters) for preset, parameters in presets])
    else:
        show(describe_models(presets))


def _to_mapping(preset: "Preset", parameters: int) -> dict[str, Any]:
    return {
        "name": preset.name,
        "parameters": parameters,
        "weights": preset.weights is not None,
        "source": preset.source,
        "spec": preset.spec.to_mapping(),
    }
