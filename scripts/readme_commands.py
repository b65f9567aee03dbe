"""Writes the table of commands in README.md from what the commands say in --help.

python scripts/readme_commands.py            # writes it
python scripts/readme_commands.py --check    # fails when it is out of date
"""

import sys
from pathlib import Path

import click

from vit_export.cli import cli

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- commands: scripts/readme_commands.py -->\n", "<!-- end of commands -->"


def table() -> str:
    rows = ["| command | what it does | options |", "| --- | --- | --- |"]
    for name, command in cli.commands.items():
        arguments = [
            p.make_metavar(click.Context(command)) for p in command.params if _positional(p)
        ]
        options = [f"`{max(p.opts, key=len)}`" for p in command.params if not _positional(p)]
        told = command.get_short_help_str(limit=200)
        usage = " ".join([name, *arguments])
        rows.append(f"| `vit-export {usage}` | {told} | {' '.join(options)} |")
    return "\n".join(rows) + "\n"


def _positional(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument)


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = before + BEGIN + table() + END + after
    if "--check" not in sys.argv:
        README.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        sys.exit("README.md: the commands changed. Fix: python scripts/readme_commands.py")


if __name__ == "__main__":
    main()
