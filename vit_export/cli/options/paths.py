"""The types of options that name files."""

import os
import re
from pathlib import Path
from typing import Any

import click

from vit_export.core.errors import RequestError
from vit_export.core.output_path import expand_home

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class InputPath(click.Path):
    """A file or folder to read. `~` is the home folder, also in --weights=~/f."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; raise RequestError for a web address, which no path can spell."""
        if ADDRESS.match(os.fsdecode(value)):
            message = f"{os.fsdecode(value)} is a web address, and vit-export reads files."
            raise RequestError(message, "download it, and name the file.")
        return expand_home(Path(os.fsdecode(super().convert(value, param, ctx))))


INPUT = InputPath(path_type=Path)
OUTPUT = click.Path()
"""A file to write. It stays text: a slash at its end says that it is a folder."""
