"""`vit-export inspect`: the content of a file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import JSON
from vit_export.cli.options.model import HINTS, SAME_ARCHITECTURE
from vit_export.cli.options.paths import INPUT

FILE = click.argument("path", type=INPUT)


@click.command()
@options(FILE, SAME_ARCHITECTURE, *HINTS, JSON)
def inspect(path: Path, *, as_json: bool, **request: Any) -> None:
    """Describe PATH, a checkpoint or an artifact: family, spec, preprocessing and more."""
    from vit_export import api
    from vit_export.cli.render.inspection import describe_inspection
    from vit_export.cli.render.output import show, show_json

    inspection = api.inspect(path, **request)
    if as_json:
        show_json(asdict(inspection))
    else:
        show(describe_inspection(inspection))
