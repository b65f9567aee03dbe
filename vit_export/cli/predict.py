"""`vit-export predict`: the classes of images, or the numbers of a regression."""

from pathlib import Path

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import ARTIFACT, JSON, THREADS, TRUST
from vit_export.cli.options.paths import INPUT
from vit_export.core.errors import RequestError

IMAGE_FILES = click.argument("images", nargs=-1, required=True, type=INPUT)
TOP = click.option(
    "--top",
    default=5,
    type=click.IntRange(min=1),
    metavar="N",
    show_default="5",
    help="Number of classes per image; a regression answers all its numbers.",
)
SKIP_BAD = click.option(
    "--skip-bad", is_flag=True, help="Exit with 0 even if some images can't be read."
)
CSV = click.option("--csv", "as_csv", is_flag=True, help="Print CSV to stdout.")


@click.command()
@options(ARTIFACT, IMAGE_FILES, TOP, SKIP_BAD, THREADS, TRUST, CSV, JSON)
def predict(
    artifact: Path,
    images: tuple[Path, ...],
    top: int,
    threads: int | None,
    *,
    trust: bool,
    skip_bad: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Classify image files with ARTIFACT and the preprocessing that it carries.

    Each answer is printed when it is there. An image that can't be read is named on stderr, and the
    others are answered.
    """
    from vit_export.api.predict import Predictor
    from vit_export.cli.render.predictions import show_csv, show_json_array, show_table

    if as_csv and as_json:
        raise RequestError("--csv and --json exclude each other.", "give one of them.")
    predictor = Predictor(artifact, top=top, threads=threads, trust=trust)
    results = predictor.classify(images)
    if as_json:
        show_json_array(results, len(images), skip_bad=skip_bad)
    elif as_csv:
        show_csv(results, len(images), skip_bad=skip_bad)
    else:
        names = predictor.class_names
        files, function = [str(image) for image in images], predictor.score_function
        show_table(results, files, names, function, skip_bad=skip_bad)
