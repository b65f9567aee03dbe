"""The options that describe a file of another tool, which does not describe itself."""

import click

from vit_export.cli.options.model import INPUT_SHAPE

SAME_SIZE = click.option(
    "--image-size",
    metavar="HxW",
    help="Size of the images of another tool's file, if that takes several.",
)
SAME_OUTPUTS = click.option(
    "--outputs",
    metavar="LIST",
    help="What another tool's file answers, if it is not the model's own answer.",
)
OUTPUT_NAMES = click.option(
    "--output-names",
    default="",
    metavar="NAME,…",
    help="Its outputs in the order of the model's, if neither names nor shapes tell.",
)
FOREIGN = (INPUT_SHAPE, SAME_SIZE, SAME_OUTPUTS, OUTPUT_NAMES)
