"""The command line: parse, call the Python twin in `api`, print. One subcommand per target."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from vit_export.errors import VitExportError
from vit_export.presets import DEFAULT, Preset
from vit_export.targets import TARGETS
from vit_export.targets.base import Option, Target

INTERRUPTED = 130
Command = Callable[..., Any]

MODEL = click.option(
    "--model",
    default=DEFAULT,
    show_default=True,
    metavar="NAME|FILE.toml",
    help="Which architecture; `vit-export models` lists them.",
)
WEIGHTS = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Checkpoint: safetensors, or a pickled state dict (.pt, .pth, .bin).",
)
IMAGE_SIZE = click.option(
    "--image-size", metavar="HxW", help="Of the exported model, height first; 384 is square."
)
CLASSES = click.option("--classes", type=int, metavar="N", help="Rows of a random head.")
THREADS = click.option("--threads", type=click.IntRange(min=1), help="Of the runtime.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress.")
VERBOSE = click.option("-v", "--verbose", is_flag=True, help="A row for every single answer.")
ARTIFACT = click.argument("artifact", type=click.Path(path_type=Path))


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vit-export")
def cli() -> None:
    """Takes a Vision Transformer from PyTorch to the file a device runs, and proves it."""


def _building_command(target: Target) -> click.Command:
    @_options(
        click.option("--out", required=True, type=click.Path(path_type=Path), help="The file."),
        MODEL,
        WEIGHTS,
        click.option("--seed", default=0, show_default=True, help="Of random weights."),
        IMAGE_SIZE,
        CLASSES,
        click.option(
            "--batch",
            default="dynamic",
            show_default=True,
            metavar="dynamic|N|MIN:OPT:MAX",
            help="The batch sizes that the file takes.",
        ),
        click.option(
            "--images",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Images to judge on, besides those that ship.",
        ),
        *map(_target_option, target.options),
        THREADS,
        JSON,
        QUIET,
        VERBOSE,
    )
    def command(*, as_json: bool, quiet: bool, verbose: bool, **request: Any) -> None:
        from vit_export import api, report

        console, errors = Console(), Console(stderr=True)
        progress = report.stages(errors, quiet=quiet)
        try:
            built = api.build(target.name, request.pop("model"), progress=progress, **request)
        except api.RejectedError as rejected:
            if not as_json:
                report.print_verdict(console, rejected.verdict, verbose=verbose)
            raise
        if as_json:
            values = asdict(built) | {"verdict": built.verdict.to_mapping()}
            click.echo(report.to_json(values | {"path": str(built.path)}))
            return
        report.print_verdict(console, built.verdict, verbose=verbose)
        report.print_built(console, built.path, built.size_bytes, built.weights_from)
        if built.random_weights:
            report.print_random_weights(errors)

    text = f"{target.summary}\n\n{target.note}"
    return click.command(target.name, help=text, short_help=target.summary)(command)


def _target_option(option: Option) -> Callable[[Command], Command]:
    if isinstance(option.default, bool):
        flags = f"--{option.name}/--no-{option.name}"
        return click.option(flags, default=option.default, show_default=True, help=option.help)
    text = f"{option.help} {option.least} to {option.most}."
    return click.option(f"--{option.name}", default=option.default, show_default=True, help=text)


for _target in TARGETS.values():
    cli.add_command(_building_command(_target))


@cli.command()
@_options(
    ARTIFACT,
    click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path)),
    click.option("--top", default=5, show_default=True, help="How many classes."),
    THREADS,
    JSON,
)
def predict(
    artifact: Path, images: tuple[Path, ...], top: int, threads: int | None, *, as_json: bool
) -> None:
    """Class names of image files, through the preprocessing that ARTIFACT carries."""
    from vit_export import api, report

    found = api.predict(artifact, images, top=top, threads=threads)
    if as_json:
        click.echo(report.to_json([asdict(one) for one in found]))
    else:
        report.print_predictions(Console(), found)


@cli.command()
@_options(
    ARTIFACT,
    WEIGHTS,
    click.option(
        "--report",
        "page",
        type=click.Path(path_type=Path),
        metavar="FILE.html",
        help="The verdict as one page with its plots.",
    ),
    THREADS,
    JSON,
    QUIET,
    VERBOSE,
)
def validate(
    artifact: Path,
    weights: Path | None,
    page: Path | None,
    threads: int | None,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Repeats the proof of ARTIFACT, from the answers it carries or afresh with --weights."""
    from vit_export import api, report

    progress = report.stages(Console(stderr=True), quiet=quiet)
    verdict = api.validate(
        artifact, weights=weights, report=page, threads=threads, progress=progress
    )
    if as_json:
        click.echo(report.to_json(verdict.to_mapping()))
    else:
        report.print_verdict(Console(), verdict, verbose=verbose)
    if verdict.status != "PROVEN":
        sys.exit(4)


@cli.command()
@_options(MODEL, IMAGE_SIZE, CLASSES, JSON)
def summary(model: str, image_size: str | None, classes: int | None, *, as_json: bool) -> None:
    """The model's layers: output shape and parameters of each."""
    from vit_export import api, report

    found = api.summary(model, image_size=image_size, classes=classes)
    if as_json:
        click.echo(report.to_json(asdict(found)))
    else:
        report.print_summary(Console(), found)


@cli.command()
@_options(JSON)
def models(*, as_json: bool) -> None:
    """The models that ship, with parameters, image size, and whether they carry weights."""
    from vit_export import api, report

    found = api.models()
    if as_json:
        click.echo(report.to_json([_model(*one) for one in found]))
    else:
        report.print_models(Console(), found)


def _model(preset: Preset, parameters: int) -> dict[str, Any]:
    return {
        "name": preset.name,
        "parameters": parameters,
        "weights": preset.weights is not None,
        "source": preset.source,
        "spec": asdict(preset.spec),
    }


@cli.command()
@_options(JSON)
def doctor(*, as_json: bool) -> None:
    """Which targets work on this machine, and what to install for the others."""
    from vit_export import api, report

    found = api.doctor()
    if as_json:
        click.echo(report.to_json([asdict(one) | {"works": one.works} for one in found]))
    else:
        report.print_health(Console(), found)


def main() -> None:
    """Runs the command line and ends the process: the only place that renders errors."""
    try:
        cli.main(standalone_mode=False)
    except VitExportError as error:
        _fail(error.message, error.fix, error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), "see --help.", 2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted.", "run it again; nothing was changed.", INTERRUPTED)
    except MemoryError:
        _fail("out of memory.", "take a smaller model or a machine with more memory.", 1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        _fail(f"{error}.", "check the path, its permissions and the free space.", 1)
    sys.exit(0)


def _fail(message: str, fix: str, code: int) -> None:
    from vit_export import report

    if "--json" in sys.argv:
        click.echo(report.to_json({"error": message, "fix": fix, "exit_code": code}))
    click.echo(f"Error: {message}\nFix: {fix}", err=True)
    sys.exit(code)
