"""`vit-export predict`: the classes of images."""

from dataclasses import asdict
from pathlib import Path

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import ARTIFACT, JSON, THREADS
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
@options(ARTIFACT, IMAGE_FILES, TOP, THREADS, JSON)
def predict(
    artifact: Path, images: tuple[Path, ...], top: int, threads: int | None, *, as_json: bool
) -> None:
    """Classify image files with ARTIFACT and the preprocessing that it carries."""
    from vit_export import api
    from vit_export.cli.render.output import show, show_json
    from vit_export.cli.render.predictions import describe_predictions

    predictions = api.predict(artifact, images, top=top, threads=threads)
    if as_json:
        show_json([asdict(prediction) for prediction in predictions])
    else:
        show(describe_predictions(predictions))
