"""The command line: parse, call the function of the same name in `api`, print."""

import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click

from vit_export.backends import BACKENDS
from vit_export.cli.bench import bench
from vit_export.cli.cpp import cpp
from vit_export.cli.doctor import doctor
from vit_export.cli.emulate import emulate
from vit_export.cli.errors import describe_error, is_json_requested, report_error
from vit_export.cli.export import export_command
from vit_export.cli.inspect import inspect
from vit_export.cli.locate import locate
from vit_export.cli.models import models
from vit_export.cli.predict import predict
from vit_export.cli.summary import summary
from vit_export.cli.validate import validate
from vit_export.core.errors import BuildError, RequestError, VitExportError

LAST_STANDARD_DESCRIPTOR = 2
OUT_OF_MEMORY = b"Error: out of memory.\nFix: raise the memory limit (ulimit -v).\n"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vit-export")
def cli() -> None:
    """Take a Vision Transformer from PyTorch to the file a device runs, and prove it."""


for _command in (
    *map(export_command, BACKENDS.values()),
    *(cpp, predict, validate, locate, bench, inspect, summary, models, doctor, emulate),
):
    cli.add_command(_command)


def run(argv: Sequence[str]) -> int:
    """Run one command line, such as `["models", "--json"]`, and return its exit code.

    A bug in the program itself is raised; every other error is printed with its fix.
    """
    try:
        cli.main(args=list(argv), prog_name="vit-export", standalone_mode=False)
        if sys.stdout is not None:  # it is None where the caller closed it
            sys.stdout.flush()  # a full disk behind it is an error like any other
    except BrokenPipeError:  # the reader has gone, as in `| head -1`; the work is done
        return 0
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message(), err=True)
        return RequestError.exit_code
    except SystemExit:  # click exits when the reader of its help has gone
        return BuildError.exit_code
    except (Exception, KeyboardInterrupt) as error:
        failure = describe_error(error)
        if failure is None:
            raise
        return _report(failure, argv)
    return 0


def _report(failure: VitExportError, argv: Sequence[str]) -> int:
    """Print an error with its fix, and return its exit code."""
    try:
        report_error(failure, as_json=is_json_requested(cli, argv))
    except MemoryError:  # there is not even enough to say so in the usual way
        os.write(LAST_STANDARD_DESCRIPTOR, OUT_OF_MEMORY)
        return BuildError.exit_code
    return failure.exit_code


def main() -> NoReturn:
    """Run the command line and end the process at once, because unloading torch takes a second."""
    _prepare_streams()
    exit_code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # one may be closed or full
            stream.flush()
    os._exit(exit_code)


def _prepare_streams() -> None:
    """Make printing safe where a stream is closed, or lacks a letter, or a library logs to it.

    Without it, the next file that is opened would be what a library prints to.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= LAST_STANDARD_DESCRIPTOR:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # it would log to stderr that a home without write permission has no room for its cache
    logging.getLogger("matplotlib").addHandler(logging.NullHandler())
