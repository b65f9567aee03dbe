"""Prints reports to stdout and progress to stderr, in colour if rich is installed."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any, NoReturn, TextIO, TypeGuard

import click

from vit_export.cli.render.blocks import Block, line
from vit_export.cli.render.plain import format_plainly
from vit_export.cli.render.printable import make_printable
from vit_export.core.errors import VitExportError
from vit_export.core.progress import Progress, ReportShare, silent
from vit_export.core.to_json import to_json


def show(blocks: Iterable[Block]) -> None:
    """Print a report to stdout."""
    _print(blocks, sys.stdout)


def show_failure(blocks: Iterable[Block], error: VitExportError) -> NoReturn:
    """Print the report of a failure to stdout and raise `error`, even where stdout is full."""
    try:
        show(blocks)
    except OSError as trouble:
        reason = trouble.strerror or trouble
        show_notice([line(f"The report can't be printed: {reason}.", highlight=False)])
    raise error


def show_notice(blocks: Iterable[Block]) -> None:
    """Print to stderr what is not part of the report."""
    _print(blocks, sys.stderr)


def show_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    with _until_reader_leaves(sys.stdout):
        click.echo(to_json(value))


def show_error(error: VitExportError) -> None:
    """Print an error and its fix to stderr."""
    text = make_printable(f"Error: {error.message}\nFix: {error.fix}", lines=True)
    with _until_reader_leaves(sys.stderr):
        click.echo(_encodable(text, sys.stderr), err=True)


def divert_prints() -> AbstractContextManager[object]:
    """Send what a user's own code prints to stderr while it is open: stdout is for reports."""
    return redirect_stdout(sys.stderr)


def show_progress(*, quiet: bool) -> Progress:
    """Return a progress that prints the stages of long work to stderr."""
    return silent if quiet else _show_stage


def _show_stage(stage: str) -> AbstractContextManager[ReportShare | None]:
    name = make_printable(stage)
    if _has_colour(sys.stderr):
        from vit_export.cli.render.pretty import show_stage_prettily

        return show_stage_prettily(name, sys.stderr)
    return _show_stage_plainly(name)


@contextmanager
def _show_stage_plainly(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    text = f"{time.perf_counter() - started:6.1f} s  {name}"
    with _until_reader_leaves(sys.stderr):
        click.echo(_encodable(text, sys.stderr), err=True)


def _print(blocks: Iterable[Block], stream: TextIO | None) -> None:
    with _until_reader_leaves(stream):
        if _has_colour(stream):
            from vit_export.cli.render.pretty import print_prettily

            print_prettily(blocks, stream)
        else:
            for block in blocks:
                click.echo(_encodable(format_plainly(block), stream), file=stream)


@contextmanager
def _until_reader_leaves(stream: TextIO | None) -> Iterator[None]:
    """Print no more to a stream whose reader has gone, as in `| head -1`; the work goes on."""
    try:
        yield
    except BrokenPipeError:
        if stream is not None:  # what waits in its buffer goes nowhere
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _has_colour(stream: TextIO | None) -> TypeGuard[TextIO]:
    """Return whether to print with rich: it is installed, and the stream is a terminal."""
    if stream is None or find_spec("rich") is None:
        return False
    return stream.isatty() or os.environ.get("FORCE_COLOR", "") != ""


def _encodable(text: str, stream: TextIO | None) -> str:
    """Return the text with a question mark for each character that the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
