"""The option for the precision, and those that only some precisions have."""

import click

from vit_export.artifact.precision import OPTION_PRECISIONS
from vit_export.cli.options import Decorator
from vit_export.cli.options.paths import INPUT, OUTPUT

SCALES = click.option(
    "--scales",
    default="batch",
    show_default=True,
    type=click.Choice(["batch", "token"]),
    help="int8: one run-time scale for the whole input of a layer, or one per token.",
)
CALIBRATION = click.option(
    "--calibration",
    type=INPUT,
    metavar="DIR",
    help="Images to calibrate ranges and rounding on; required for int8-static.",
)
INCLUDE = click.option(
    "--include",
    multiple=True,
    type=click.Choice(["patches", "head", "attention"]),
    help="Quantize this part too; the default is the linear layers of the blocks.",
)
MIN_SNR = click.option(
    "--min-snr",
    type=float,
    metavar="DB",
    show_default="25",
    help="auto: least signal-to-noise ratio of every sample.",
)
MIN_TOP1 = click.option(
    "--min-top1",
    type=float,
    metavar="SHARE",
    show_default="0.99",
    help="auto: least share of images that keep their top class.",
)
IO_FP16 = click.option(
    "--io-fp16", is_flag=True, help="fp16: make the inputs and outputs of the file fp16 too."
)
SEARCH_PLOT = click.option(
    "--plot",
    type=OUTPUT,
    metavar="FILE.png",
    help="auto: write a figure of latency against accuracy, with the choice marked.",
)
PLAN = click.option(
    "--plan",
    type=INPUT,
    metavar="FILE",
    help="auto: repeat the choice of an earlier file, without a search.",
)
BY_NAME = {
    "scales": SCALES,
    "calibration": CALIBRATION,
    "include": INCLUDE,
    "io_fp16": IO_FP16,
    "min_snr": MIN_SNR,
    "min_top1": MIN_TOP1,
    "plot": SEARCH_PLOT,
    "plan": PLAN,
}
"""An option for each name in `OPTION_PRECISIONS`."""


def precision_options(precisions: tuple[str, ...]) -> tuple[Decorator, ...]:
    """Return --precision with the precisions of a backend, and the options that they have."""
    precision = click.option(
        "--precision",
        show_default="fp32",
        metavar="|".join(precisions),
        help="Data type of weights and matmuls.",
    )
    return precision, *(
        BY_NAME[name] for name in BY_NAME if OPTION_PRECISIONS[name] & {*precisions}
    )


def precision_flag(flag: str, precision: str) -> Decorator:
    """Return a flag that stands for one precision, such as `trt --fp16`."""
    return click.option(f"--{flag}", is_flag=True, help=f"Short for --precision {precision}.")
