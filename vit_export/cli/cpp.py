"""`vit-export cpp`: a C++ project around an artifact."""

from pathlib import Path
from typing import Any

import click

from vit_export.cli.options import options
from vit_export.cli.options.common import ARTIFACT, JSON, QUIET
from vit_export.cli.options.model import MODULE, SET, WEIGHTS
from vit_export.cli.options.paths import INPUT

FOLDER = click.option(
    "--out",
    required=True,
    type=INPUT,
    metavar="DIR",
    help="The folder of the project.",
)
PREPROCESS = click.option(
    "--preprocess",
    type=click.Choice(["graph", "cpp"]),
    help="Resize images in the model file or in C++; the default is what ARTIFACT was built for.",
)
NAME = click.option(
    "--name",
    metavar="NAME",
    help="Name of the library in CMake and of the namespace in C++; the default is the model's.",
)
FORCE = click.option("--force", is_flag=True, help="Write into a folder that is not empty.")


@click.command()
@options(ARTIFACT, FOLDER, NAME, PREPROCESS, WEIGHTS, MODULE, SET, FORCE, JSON, QUIET)
def cpp(artifact: Path, *, as_json: bool, quiet: bool, **request: Any) -> None:
    """Write a C++ project that classifies images with ARTIFACT and tests itself against PyTorch."""
    from vit_export import api
    from vit_export.cli.render.cpp import describe_project
    from vit_export.cli.render.output import divert_prints, show, show_json, show_progress

    with divert_prints():
        project = api.cpp(artifact, progress=show_progress(quiet=quiet), **request)
    if as_json:
        show_json(project.to_mapping())
    else:
        show(describe_project(project))
