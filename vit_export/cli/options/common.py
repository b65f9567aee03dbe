"""The options of several commands: files, images, output, the runtime."""

import click

from vit_export.cli.options.paths import INPUT, OUTPUT

ARTIFACT = click.argument("artifact", type=INPUT)
OUT = click.option("--out", required=True, type=OUTPUT, help="The file to write.")
IMAGES = click.option(
    "--images",
    type=INPUT,
    metavar="DIR",
    help="Images to measure accuracy on, in a sub-folder for each class; up to 8 join the proof.",
)
LABELS_CSV = click.option(
    "--labels-csv",
    type=INPUT,
    metavar="FILE",
    help="Labels of --images: a file name and a class in each row.",
)
PLOT = click.option(
    "--plot",
    type=OUTPUT,
    metavar="FILE.png",
    help="Write the results as a figure.",
)
THREADS = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Threads of the runtime."
)
TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Run the code that some engines carry: for files whose author you trust.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Print a row for every answer.")
