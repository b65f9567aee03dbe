"""The types of options that name files."""

import os
from pathlib import Path
from typing import Any

import click

from vit_export.core.output_path import expand_home


class InputPath(click.Path):
    """A file or folder to read. `~` is the home folder, also in --weights=~/f."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        return expand_home(Path(os.fsdecode(super().convert(value, param, ctx))))


INPUT = InputPath(path_type=Path)
OUTPUT = click.Path()
"""A file to write. It stays text: a slash at its end says that it is a folder."""
