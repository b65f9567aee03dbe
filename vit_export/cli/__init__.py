"""The command line: parse, call the Python twin in `api`, print. One subcommand per target."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

import click

from vit_export.backends import TARGETS
from vit_export.cli.artifacts import predict, validate
from vit_export.cli.bench import bench
from vit_export.cli.cpp import cpp
from vit_export.cli.export import building_command
from vit_export.cli.listing import doctor, inspect, models, summary
from vit_export.cli.locate import locate
from vit_export.core.errors import BuildError, RequestError, VitExportError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vit-export")
def cli() -> None:
    """Takes a Vision Transformer from PyTorch to the file a device runs, and proves it."""


for _command in (
    *map(building_command, TARGETS.values()),
    *(cpp, predict, validate, locate, bench, inspect, summary, models, doctor),
):
    cli.add_command(_command)


def main() -> None:
    """Runs the command line and ends the process: the only place that renders errors."""
    try:
        cli.main(standalone_mode=False)
        _end(0)
    except VitExportError as error:
        _fail(error, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message(), err=True)
        _end(RequestError.exit_code)
    except click.ClickException as error:
        _fail(RequestError(error.format_message(), "see --help."), RequestError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail(BuildError("interrupted.", "run it again; nothing was changed."), INTERRUPTED)
    except BrokenPipeError:  # as in `vit-export models | head -1`
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        fix = "check the path, its permissions and the free space."
        _fail(BuildError(f"{error}.", fix), BuildError.exit_code)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        fix = "take a smaller model or a machine with more memory."
        _fail(BuildError("out of memory.", fix), BuildError.exit_code)


def _end(exit_code: int) -> NoReturn:
    """Ends the process at once: to take down torch in good order costs a second, for nothing."""
    sys.stdout.flush()
    os._exit(exit_code)


def _fail(error: VitExportError, exit_code: int) -> NoReturn:
    from vit_export.cli import render as report

    if "--json" in sys.argv:
        told = {"error": error.message, "fix": error.fix, "exit_code": exit_code}
        with suppress(OSError):  # stdout itself may be what failed
            click.echo(report.to_json(told | dict(error.details)))
    click.echo(f"Error: {error.message}\nFix: {error.fix}", err=True)
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(exit_code)
