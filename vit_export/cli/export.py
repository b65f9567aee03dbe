"""`vit-export onnx`, `torchscript` and others: one command per backend, made from its fields."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from vit_export.backends.base import Backend
from vit_export.cli.options import common, model, options
from vit_export.cli.options.backend import BATCH, backend_option
from vit_export.cli.options.precision import precision_flag, precision_options
from vit_export.core.errors import BuildError

if TYPE_CHECKING:
    from vit_export.api.result import ExportResult


def export_command(backend: Backend) -> click.Command:
    """Return the command that exports to a backend; --help shows its summary and its note."""

    @options(
        *(
            common.OUT,
            model.MODEL,
            model.FROM,
            *model.OWN_CODE,
            model.WEIGHTS,
            *model.HINTS,
            model.CHECK,
        ),
        *(model.SEED, model.IMAGE_SIZE, model.CLASSES, model.OUTPUTS, model.LABELS),
        *model.PREPROCESSING,
        *precision_options(backend.precisions),
        *(precision_flag(flag, precision) for flag, precision in backend.precision_flags.items()),
        *(BATCH, common.IMAGES, common.LABELS_CSV),
        *map(backend_option, backend.options),
        *(common.THREADS, common.JSON, common.QUIET, common.VERBOSE),
    )
    def command(*, as_json: bool, quiet: bool, verbose: bool, **request: Any) -> None:
        from vit_export import api
        from vit_export.cli.render.output import divert_prints, show_failure, show_progress
        from vit_export.cli.render.verdict import describe_verdict
        from vit_export.validation.verdict import RejectedError

        progress = show_progress(quiet=quiet)
        try:
            with divert_prints():
                result = api.build(backend.name, request.pop("model"), progress=progress, **request)
        except RejectedError as error:
            report = describe_verdict(error.verdict, verbose=verbose)
            show_failure(() if as_json else report, error)
        try:
            _show_export(result, as_json=as_json, verbose=verbose)
        except OSError as error:
            message = f"{result.path} is written, and its report can't be printed: "
            fix = f"free space behind stdout; vit-export validate {result.path} shows it again."
            raise BuildError(f"{message}{error.strerror or error}.", fix) from None

    text = f"{backend.summary}\n\n{backend.note}"
    return click.command(backend.name, help=text, short_help=backend.summary)(command)


def _show_export(result: "ExportResult", *, as_json: bool, verbose: bool) -> None:
    from vit_export.cli.render.export import describe_export, describe_random_weights
    from vit_export.cli.render.output import show, show_json, show_notice
    from vit_export.cli.render.verdict import describe_verdict

    if as_json:
        show_json(_to_mapping(result))
    else:
        show(describe_verdict(result.verdict, verbose=verbose))
        show(describe_export(result))
    if result.origin.random_weights:
        show_notice(describe_random_weights())


def _to_mapping(result: "ExportResult") -> dict[str, Any]:
    verdict = dict(result.verdict.to_mapping())
    return {
        "path": str(result.path),
        "size_bytes": result.size_bytes,
        **asdict(result.origin),
        "notes": result.notes,
        "images": verdict.pop("images"),
        "verdict": verdict,
    }
