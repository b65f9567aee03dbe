"""`vit-export emulate`: the emulators of `validate --on`."""

from dataclasses import asdict

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import JSON, QUIET

INSTALL = click.option(
    "--install", is_flag=True, help="Fetch what is missing, with apt, pip and npm."
)


@click.command()
@options(INSTALL, JSON, QUIET)
def emulate(*, install: bool, as_json: bool, quiet: bool) -> None:
    """List the emulators of validate --on, or install them into the user's cache."""
    from vit_export import api
    from vit_export.cli.render.emulation import describe_emulators
    from vit_export.cli.render.output import show, show_json, show_progress

    emulators = api.emulate(install=install, progress=show_progress(quiet=quiet))
    if as_json:
        show_json([asdict(one) for one in emulators])
    else:
        show(describe_emulators(emulators))
