"""Writes the table of targets, and the references of commands and Python functions, from the code.

python scripts/docs_commands.py            # writes them
python scripts/docs_commands.py --check    # fails when one is out of date
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click
from docs_regions import Region

import vit_export
from vit_export.backends import BACKENDS
from vit_export.cli import cli

WIDTH = 80
CommandsRegion = partial(Region, script="scripts/docs_commands.py")


def format_targets() -> str:
    """Return a row per target: its command, the suffix of its file, its precisions."""
    rows = ["| command | file | precisions |", "| --- | --- | --- |"]
    for backend in BACKENDS.values():
        precisions = ", ".join(f"`{name}`" for name in backend.precisions)
        rows.append(f"| `vit-export {backend.name}` | `{backend.suffix}` | {precisions} |")
    return "\n".join(rows)


def format_commands() -> str:
    """Return a row per command, with a link to its section."""
    rows = ["| command | what it does |", "| --- | --- |"]
    for name, command in cli.commands.items():
        link = f"[`vit-export {name}`](#vit-export-{name})"
        rows.append(f"| {link} | {command.get_short_help_str(limit=200)} |")
    return "\n".join(rows)


def format_reference() -> str:
    """Return a section per command: its --help."""
    return "\n\n".join(_format_section(name, command) for name, command in cli.commands.items())


def _format_section(name: str, command: click.Command) -> str:
    settings = cli.context_settings | {"terminal_width": WIDTH}
    context = click.Context(command, info_name=f"vit-export {name}", **settings)
    return f"### vit-export {name}\n\n```text\n{command.get_help(context)}\n```"


def format_functions() -> str:
    """Return a section per command, in the order of the commands: its Python function."""
    return "\n\n".join(
        f"### vit_export.{name}\n\n```text\n{_format_call(name)}\n\n{_read_docstring(name)}\n```"
        for name in cli.commands
    )


def _format_call(name: str) -> str:
    """Return the call with the name and the default of every parameter."""
    parameters = ", ".join(_list_parameters(getattr(vit_export, name)))
    return textwrap.fill(f"{name}({parameters})", WIDTH, subsequent_indent="    ")


def _list_parameters(function: Callable[..., Any]) -> Iterator[str]:
    star = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            star = True
            yield "*"
        default = getattr(parameter.default, "__name__", repr(parameter.default))
        yield name if parameter.default is parameter.empty else f"{name}={default}"


def _read_docstring(name: str) -> str:
    return inspect.getdoc(getattr(vit_export, name)) or ""


if __name__ == "__main__":
    CommandsRegion(page="README.md", name="targets").write_or_check(format_targets())
    CommandsRegion(page="docs/cli.md", name="commands").write_or_check(format_commands())
    CommandsRegion(page="docs/cli.md", name="reference").write_or_check(format_reference())
    CommandsRegion(page="docs/python.md", name="functions").write_or_check(format_functions())
