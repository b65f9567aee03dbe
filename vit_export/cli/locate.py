"""`vit-export locate`: the first module of an artifact that is wrong."""

from pathlib import Path
from typing import Any

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import ARTIFACT, JSON, PLOT, QUIET, THREADS, VERBOSE
from vit_export.cli.options.foreign import FOREIGN
from vit_export.cli.options.model import MODULE, SET, WEIGHTS


@click.command()
@options(ARTIFACT, WEIGHTS, MODULE, SET, *FOREIGN, PLOT, THREADS, JSON, QUIET, VERBOSE)
def locate(artifact: Path, *, as_json: bool, quiet: bool, verbose: bool, **request: Any) -> None:
    """Find the first module of ARTIFACT that differs from eager PyTorch, and show the errors.

    An ONNX file of another tool needs --weights or --module.
    """
    from vit_export import api
    from vit_export.cli.render.location import describe_location
    from vit_export.cli.render.output import (
        divert_prints,
        show,
        show_failure,
        show_json,
        show_progress,
    )
    from vit_export.validation.localize import MismatchError

    try:
        with divert_prints():
            location = api.locate(artifact, progress=show_progress(quiet=quiet), **request)
    except MismatchError as error:
        report = describe_location(error.location, verbose=verbose)
        show_failure(() if as_json else report, error)
    if as_json:
        show_json(location.to_mapping())
    else:
        show(describe_location(location, verbose=verbose))
