"""The options of all commands: one name and one meaning everywhere."""

from collections.abc import Callable
from typing import Any

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def options(*decorators: Decorator) -> Decorator:
    """Return all decorators as one, in the order in which --help lists them."""

    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply
