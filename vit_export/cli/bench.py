"""`vit-export bench`: the speed of artifacts."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import JSON, PLOT, QUIET, THREADS, TRUST
from vit_export.cli.options.model import MODULE, SET, WEIGHTS
from vit_export.cli.options.paths import INPUT

ARTIFACTS = click.argument("artifacts", nargs=-1, required=True, type=INPUT)
BATCHES = click.option(
    "--batch", default="1", show_default=True, metavar="N,N", help="Batch sizes to run."
)
AGAINST = click.option(
    "--against",
    default="",
    metavar="NAME,NAME",
    help="Baselines to run beside them: eager, compile, openvino, ort-dynamic and others.",
)
ROUNDS = click.option(
    "--rounds", default=7, show_default=True, metavar="N", help="Number of bursts per candidate."
)


@click.command()
@options(
    ARTIFACTS, BATCHES, WEIGHTS, MODULE, SET, THREADS, TRUST, AGAINST, ROUNDS, PLOT, JSON, QUIET
)
def bench(artifacts: tuple[Path, ...], *, as_json: bool, quiet: bool, **request: Any) -> None:
    """Measure ARTIFACTS beside baselines and this machine's limit, in one interleaved run."""
    from vit_export import api
    from vit_export.cli.render.bench import describe_bench
    from vit_export.cli.render.output import divert_prints, show, show_json, show_progress

    with divert_prints():
        result = api.bench(artifacts, progress=show_progress(quiet=quiet), **request)
    if as_json:
        show_json(asdict(result))
    else:
        show(describe_bench(result))
