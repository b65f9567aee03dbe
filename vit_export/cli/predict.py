"""`vit-export predict`: the classes of images."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import ARTIFACT, JSON, THREADS, TRUST
from vit_export.cli.options.paths import INPUT

IMAGE_FILES = click.argument("images", nargs=-1, required=True, type=INPUT)
TOP = click.option(
    "--top",
    default=5,
    type=click.IntRange(min=1),
    metavar="N",
    show_default="5",
    help="Number of classes per image.",
)


@click.command()
@options(ARTIFACT, IMAGE_FILES, TOP, THREADS, TRUST, JSON)
def predict(artifact: Path, images: tuple[Path, ...], *, as_json: bool, **request: Any) -> None:
    """Classify image files with ARTIFACT and the preprocessing that it carries."""
    from vit_export import api
    from vit_export.cli.render.output import show, show_json
    from vit_export.cli.render.predictions import describe_predictions

    predictions = api.predict(artifact, images, **request)
    if as_json:
        show_json([asdict(prediction) for prediction in predictions])
    else:
        show(describe_predictions(predictions))
