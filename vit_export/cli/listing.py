"""The commands that build nothing: inspect, summary, models and doctor."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from vit_export.cli.options import CLASSES, IMAGE_SIZE, JSON, LIKE, MODEL, TELLING, WEIGHTS, options
from vit_export.model.vit.presets import Preset


@click.command()
@options(click.argument("path", type=click.Path(path_type=Path)), LIKE, *TELLING, JSON)
def inspect(path: Path, *, as_json: bool, **request: Any) -> None:
    """What PATH is, a checkpoint or an artifact: family, spec, preprocessing, what is missing."""
    from vit_export import api
    from vit_export.cli import render as report

    found = api.inspect(path, **request)
    if as_json:
        click.echo(report.to_json(asdict(found)))
    else:
        report.print_inspection(Console(), found)


@click.command()
@options(MODEL, WEIGHTS, *TELLING, IMAGE_SIZE, CLASSES, JSON)
def summary(model: str | None, *, as_json: bool, **request: Any) -> None:
    """The model's layers: output shape and parameters of each."""
    from vit_export import api
    from vit_export.cli import render as report

    found = api.summary(model, **request)
    if as_json:
        click.echo(report.to_json(asdict(found)))
    else:
        report.print_summary(Console(), found)


@click.command()
@options(JSON)
def models(*, as_json: bool) -> None:
    """The models that ship, with parameters, image size, and whether they carry weights."""
    from vit_export import api
    from vit_export.cli import render as report

    found = api.models()
    if as_json:
        click.echo(report.to_json([_model(*one) for one in found]))
    else:
        report.print_models(Console(), found)


def _model(preset: Preset, parameters: int) -> dict[str, Any]:
    return {
        "name": preset.name,
        "parameters": parameters,
        "weights": preset.weights is not None,
        "source": preset.source,
        "spec": asdict(preset.spec),
    }


@click.command()
@options(JSON)
def doctor(*, as_json: bool) -> None:
    """Which targets work on this machine, and what to install for the others."""
    from vit_export import api
    from vit_export.cli import render as report

    found = api.doctor()
    if as_json:
        click.echo(report.to_json([asdict(one) | {"works": one.works} for one in found]))
    else:
        report.print_health(Console(), found)
