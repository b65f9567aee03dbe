"""`vit-export summary`: the layers of a model."""

from dataclasses import asdict
from typing import Any

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import JSON
from vit_export.cli.options.model import CLASSES, HINTS, IMAGE_SIZE, MODEL, WEIGHTS


@click.command()
@options(MODEL, WEIGHTS, *HINTS, IMAGE_SIZE, CLASSES, JSON)
def summary(model: str | None, *, as_json: bool, **request: Any) -> None:
    """List the layers of a model, with output shape and parameters of each."""
    from vit_export import api
    from vit_export.cli.render.output import show, show_json
    from vit_export.cli.render.summary import describe_summary

    layers = api.summary(model, **request)
    if as_json:
        show_json(asdict(layers))
    else:
        show(describe_summary(layers))
