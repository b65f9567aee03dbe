"""Writes the tables of targets and commands, and the reference of the command line, from the code.

python scripts/docs_commands.py            # writes them
python scripts/docs_commands.py --check    # fails when one is out of date
"""

from functools import partial

import click
from docs_regions import Region

from vit_export.backends import BACKENDS
from vit_export.cli import cli

WIDTH = 80
Here = partial(Region, script="scripts/docs_commands.py")


def targets() -> str:
    """One row a target: its command, the suffix of its file, its precisions."""
    rows = ["| command | file | precisions |", "| --- | --- | --- |"]
    for backend in BACKENDS.values():
        precisions = ", ".join(f"`{name}`" for name in backend.precisions)
        rows.append(f"| `vit-export {backend.name}` | `{backend.suffix}` | {precisions} |")
    return "\n".join(rows)


def commands() -> str:
    """One row a command, with a link to its section."""
    rows = ["| command | what it does |", "| --- | --- |"]
    for name, command in cli.commands.items():
        link = f"[`vit-export {name}`](#vit-export-{name})"
        rows.append(f"| {link} | {command.get_short_help_str(limit=200)} |")
    return "\n".join(rows)


def reference() -> str:
    """One section a command: its --help."""
    return "\n\n".join(_section(name, command) for name, command in cli.commands.items())


def _section(name: str, command: click.Command) -> str:
    settings = cli.context_settings | {"terminal_width": WIDTH}
    context = click.Context(command, info_name=f"vit-export {name}", **settings)
    return f"### vit-export {name}\n\n```text\n{command.get_help(context)}\n```"


if __name__ == "__main__":
    Here(page="README.md", name="targets").write_or_check(targets())
    Here(page="docs/cli.md", name="commands").write_or_check(commands())
    Here(page="docs/cli.md", name="reference").write_or_check(reference())
