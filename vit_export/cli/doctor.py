"""`vit-export doctor`: what works on this machine."""

from dataclasses import asdict

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import JSON


@click.command()
@options(JSON)
def doctor(*, as_json: bool) -> None:
    """Show which targets and emulators work on this machine, and what to install for others."""
    from vit_export import api
    from vit_export.cli.render.doctor import describe_health
    from vit_export.cli.render.output import show, show_json

    backends = api.doctor()
    if as_json:
        show_json([asdict(health) | {"works": health.works} for health in backends])
    else:
        show(describe_health(backends))
