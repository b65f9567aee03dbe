"""The command-line options of one backend, made from its own list."""

import click

from vit_export.backends.option import Option
from vit_export.cli.options import Decorator

BATCH = click.option(
    "--batch",
    multiple=True,
    default=("dynamic",),
    show_default="dynamic",
    metavar="dynamic|N|MIN:OPT:MAX",
    help="Batch sizes of the file; repeat the option for several optimization profiles.",
)


def backend_option(option: Option) -> Decorator:
    """Return the command-line form of an option: a switch, a number in a range, or a text."""
    if isinstance(option.default, bool):
        flags = f"--{option.flag_name}/--no-{option.flag_name}"
        return click.option(flags, default=option.default, show_default=True, help=option.help)
    if isinstance(option.default, str):
        return _text_option(option)
    return click.option(
        *(f"--{option.flag_name}", option.name),
        default=option.default,
        metavar=option.metavar,
        show_default=True,
        help=f"{option.help} {option.minimum} to {option.maximum}.",
    )


def _text_option(option: Option) -> Decorator:
    return click.option(
        *(f"--{option.flag_name}", option.name),
        default=option.default,
        type=click.Choice(option.choices) if option.choices else str,
        metavar=None if option.choices else option.metavar,
        show_default=bool(option.default),
        help=option.help,
    )
