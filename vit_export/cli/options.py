"""The options that commands share: one vocabulary everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vit_export.artifact.precision import OPTION_PRECISIONS
from vit_export.backends.option import Option
from vit_export.model.vit.presets import DEFAULT

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

LARGEST_SEED = 2**63 - 1

MODEL = click.option(
    "--model",
    show_default=f"{DEFAULT}; with --weights alone the checkpoint decides",
    metavar="NAME|FILE.toml",
    help="Which architecture; `vit-export models` lists them.",
)
LIKE = click.option(
    "--model",
    metavar="NAME|FILE.toml",
    help="A model of the same architecture, for what the checkpoint can't tell.",
)
WEIGHTS = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Checkpoint: safetensors, a pickled state dict (.pt, .pth, .bin), or a folder of them.",
)
HEADS = click.option("--heads", type=int, metavar="N", help="Of the checkpoint, if it can't tell.")
ACTIVATION = click.option(
    "--activation",
    type=click.Choice(["gelu", "gelu_tanh", "quick_gelu"]),
    help="Of the checkpoint, if it can't tell.",
)
POOL = click.option(
    "--pool",
    type=click.Choice(["token", "mean", "patch_mean", "token_patch_mean", "map"]),
    help="How the checkpoint's model was trained to pool, where not as its family does.",
)
NORM_EPS = click.option(
    "--norm-eps", type=float, metavar="X", help="Of the checkpoint's LayerNorms, if not as usual."
)
TRAINED_SIZE = click.option(
    "--trained-size", metavar="HxW", help="Of the checkpoint's images, if they were not square."
)
TELLING = (HEADS, ACTIVATION, POOL, NORM_EPS, TRAINED_SIZE)
"""What completes a checkpoint."""
OUT = click.option("--out", required=True, type=click.Path(path_type=Path), help="The file.")
SEED = click.option(
    "--seed",
    default=0,
    type=click.IntRange(0, LARGEST_SEED),
    metavar="N",
    show_default="0",
    help="Of random weights.",
)
IMAGE_SIZE = click.option(
    "--image-size", metavar="HxW", help="Of the exported model, height first; 384 is square."
)
CLASSES = click.option("--classes", type=int, metavar="N", help="Rows of a random head.")
OUTPUTS = click.option(
    "--outputs",
    type=click.Choice(["logits", "features", "tokens"]),
    help="The pooled features or all tokens, in place of what the model answers.",
)
LABELS = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Class names: one a line, or JSON.",
)
MEAN = click.option("--mean", metavar="X,X,X", help="Of pixels 0..1; one number is for each.")
STD = click.option("--std", metavar="X,X,X", help="Of pixels 0..1; one number is for each.")
RESIZE = click.option(
    "--resize", metavar="N|HxW", help="The shorter side before the crop, or both sides."
)
CROP = click.option(
    "--crop", metavar="HxW|SHARE", help="What the model takes, or its share of the resized side."
)
INTERPOLATION = click.option(
    "--interpolation",
    type=click.Choice(["nearest", "bilinear", "bicubic", "lanczos"]),
    help="Of the resize.",
)
BATCH = click.option(
    "--batch",
    multiple=True,
    default=("dynamic",),
    show_default="dynamic",
    metavar="dynamic|N|MIN:OPT:MAX",
    help="The batch sizes that the file takes; of an engine again for further profiles.",
)
SCALES = click.option(
    "--scales",
    default="batch",
    show_default=True,
    type=click.Choice(["batch", "token"]),
    help="Of int8: one run-time scale for all that goes into a layer, or for each token.",
)
CALIBRATION = click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Images that ranges and rounding are found on; int8-static needs them.",
)
INCLUDE = click.option(
    "--include",
    multiple=True,
    type=click.Choice(["patches", "head", "attention"]),
    help="Quantized too; by default only the linear layers of the blocks are.",
)
MIN_SNR = click.option(
    "--min-snr",
    type=float,
    metavar="DB",
    show_default="35",
    help="Of auto: the least signal to noise of every sample.",
)
MIN_TOP1 = click.option(
    "--min-top1",
    type=float,
    metavar="SHARE",
    show_default="0.99",
    help="Of auto: the least share of images whose top class stays.",
)
IO_FP16 = click.option("--io-fp16", is_flag=True, help="Of fp16: inputs and outputs too.")
IMAGES = click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Images to judge on, labelled by sub-folders; eight join the proof.",
)
LABELS_CSV = click.option(
    "--labels-csv",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labels of --images: file name and class in each row.",
)
THREADS = click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the runtime.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress.")
VERBOSE = click.option("-v", "--verbose", is_flag=True, help="A row for every single answer.")
PLOT = click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="The numbers as a picture."
)
SEARCH_PLOT = click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Of auto: latency against accuracy, with what was chosen.",
)
ARTIFACT = click.argument("artifact", type=click.Path(path_type=Path))


def options(*chosen: Decorator) -> Decorator:
    """All of `chosen`, in the order in which --help lists them."""

    def apply(command: Command) -> Command:
        for option in reversed(chosen):
            command = option(command)
        return command

    return apply


BELONGING = {
    "scales": SCALES,
    "calibration": CALIBRATION,
    "include": INCLUDE,
    "io_fp16": IO_FP16,
    "min_snr": MIN_SNR,
    "min_top1": MIN_TOP1,
    "plot": SEARCH_PLOT,
}
"""The options of `precision.OPTION_PRECISIONS`."""


def precision_options(offered: tuple[str, ...]) -> tuple[Decorator, ...]:
    """--precision with the values that a target offers, and what belongs to them."""
    precision = click.option(
        "--precision",
        show_default="fp32",
        metavar="|".join(offered),
        help="What weights and products are in.",
    )
    return precision, *(
        BELONGING[name] for name in BELONGING if OPTION_PRECISIONS[name] & {*offered}
    )


def short_option(flag: str, precision: str) -> Decorator:
    """A flag of its own for one precision."""
    return click.option(f"--{flag}", is_flag=True, help=f"Short for --precision {precision}.")


def target_option(option: Option) -> Decorator:
    """One setting of a target as a flag."""
    names = (f"--{option.flag_name}", option.name)
    if isinstance(option.default, bool):
        flags = f"--{option.flag_name}/--no-{option.flag_name}"
        return click.option(flags, default=option.default, show_default=True, help=option.help)
    if isinstance(option.default, str):
        kind = click.Choice(option.choices) if option.choices else str
        return click.option(
            *names,
            default=option.default,
            type=kind,
            metavar=None if option.choices else option.metavar,
            show_default=bool(option.default),
            help=option.help,
        )
    text = f"{option.help} {option.minimum} to {option.maximum}."
    return click.option(
        *names,
        default=option.default,
        metavar=option.metavar,
        show_default=True,
        help=text,
    )
