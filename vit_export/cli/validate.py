"""`vit-export validate`: the proof of an existing file."""

from itertools import chain
from pathlib import Path
from typing import Any, get_args

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import (
    ARTIFACT,
    IMAGES,
    JSON,
    LABELS_CSV,
    QUIET,
    THREADS,
    TRUST,
    VERBOSE,
)
from vit_export.cli.options.foreign import FOREIGN
from vit_export.cli.options.model import LABELS, MODULE, PREPROCESSING, READING, SET, WEIGHTS
from vit_export.cli.options.paths import OUTPUT
from vit_export.model.signature import ProblemType

REPORT = click.option(
    "--report",
    type=OUTPUT,
    metavar="FILE.html",
    help="Write the verdict and its plots as an HTML page.",
)

SAME_MODEL = click.option(
    "--model",
    metavar="NAME|FILE.toml",
    help="The model whose labels and preprocessing ARTIFACT should have.",
)
SAME_PROBLEM_TYPE = click.option(
    "--problem-type",
    type=click.Choice(get_args(ProblemType)),
    help="The problem type that ARTIFACT should have.",
)
MIN_SNR = click.option(
    "--min-snr",
    type=float,
    metavar="DB",
    help="Minimum SNR of every sample, in place of a budget that ARTIFACT claims.",
)
SEED = click.option(
    "--seed",
    type=int,
    metavar="N",
    help="Repeat the samples that an earlier validation with --weights drew.",
)


def _split_names(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


ON = click.option(
    "--on",
    multiple=True,
    callback=_split_names,
    metavar="CPU,…",
    help="Prove it on emulated CPUs too; vit-export emulate lists them.",
)


@click.command()
@options(
    ARTIFACT,
    WEIGHTS,
    MODULE,
    SET,
    *READING,
    *FOREIGN,
    SAME_MODEL,
    LABELS,
    SAME_PROBLEM_TYPE,
    *PREPROCESSING,
    MIN_SNR,
    SEED,
    IMAGES,
    LABELS_CSV,
    REPORT,
    ON,
    THREADS,
    TRUST,
    JSON,
    QUIET,
    VERBOSE,
)
def validate(artifact: Path, *, as_json: bool, quiet: bool, verbose: bool, **request: Any) -> None:
    """Validate ARTIFACT against the answers it carries, or against eager PyTorch (--weights).

    An ONNX file of another tool carries none, and needs --weights or --module.
    """
    from vit_export import api
    from vit_export.cli.render.emulation import describe_emulated
    from vit_export.cli.render.output import (
        divert_prints,
        show,
        show_failure,
        show_json,
        show_progress,
    )
    from vit_export.cli.render.verdict import describe_verdict
    from vit_export.validation.verdict import RejectedError

    with divert_prints():
        verdict = api.validate(artifact, progress=show_progress(quiet=quiet), **request)
    report = chain(describe_verdict(verdict, verbose=verbose), describe_emulated(verdict))
    if not verdict.accepted:
        error = RejectedError(verdict, "export the model again; don't ship this file.")
        show_failure(() if as_json else report, error)  # the error carries the verdict as JSON
    if as_json:
        show_json(verdict.to_mapping())
    else:
        show(report)
