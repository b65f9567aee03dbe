"""One command per target, made from what the target says about itself."""

from dataclasses import asdict
from typing import Any

import click
from rich.console import Console

from vit_export.backends.base import Backend
from vit_export.cli import options as shared
from vit_export.cli.options import options, precision_options, short_option, target_option
from vit_export.validation.verdict import Built, RejectedError


def building_command(target: Backend) -> click.Command:
    """The command that builds `target`; --help shows its summary and its note."""

    @options(
        *(shared.OUT, shared.MODEL, shared.WEIGHTS),
        *shared.TELLING,
        *(shared.SEED, shared.IMAGE_SIZE, shared.CLASSES, shared.OUTPUTS, shared.LABELS),
        *(shared.MEAN, shared.STD, shared.RESIZE, shared.CROP, shared.INTERPOLATION),
        *precision_options(target.precisions),
        *(short_option(*one) for one in target.shorts.items()),
        *(shared.BATCH, shared.IMAGES, shared.LABELS_CSV),
        *map(target_option, target.options),
        *(shared.THREADS, shared.JSON, shared.QUIET, shared.VERBOSE),
    )
    def command(*, as_json: bool, quiet: bool, verbose: bool, **request: Any) -> None:
        from vit_export import api
        from vit_export.cli import render as report

        progress = report.stages(Console(stderr=True), quiet=quiet)
        try:
            built = api.build(target.name, request.pop("model"), progress=progress, **request)
        except RejectedError as rejected:
            if not as_json:
                report.print_verdict(Console(), rejected.verdict, verbose=verbose)
            raise
        _show(built, as_json=as_json, verbose=verbose)

    text = f"{target.summary}\n\n{target.note}"
    return click.command(target.name, help=text, short_help=target.summary)(command)


def _show(built: Built, *, as_json: bool, verbose: bool) -> None:
    from vit_export.cli import render as report

    if as_json:
        verdict = dict(built.verdict.to_mapping())
        values = {
            "path": str(built.path),
            "size_bytes": built.size_bytes,
            **asdict(built.origin),
            "notes": built.notes,
            "images": verdict.pop("images"),
            "verdict": verdict,
        }
        click.echo(report.to_json(values))
    else:
        report.print_verdict(Console(), built.verdict, verbose=verbose)
        report.print_built(Console(), built)
    if built.origin.random_weights:
        report.print_random_weights(Console(stderr=True))
