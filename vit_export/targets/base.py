"""What a target is: a format that users ask for by name, and how it is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.errors import RequestError, did_you_mean
from vit_export.manifest import Array, Manifest
from vit_export.progress import Progress

if TYPE_CHECKING:  # torch is heavy, and listing targets must be light
    from vit_export.quantize.plan import Plan
    from vit_export.vit.lower import LoweredVit


@dataclass(frozen=True, kw_only=True)
class Option:
    """One setting of a target: a keyword in Python, a flag on the command line."""

    name: str
    """The keyword in Python, and the flag where `flag` is empty."""
    default: bool | int | str
    help: str
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    """Of a word."""
    flag: str = ""

    def check(self, value: object) -> bool | int | str:
        """`value`, when it can be this setting.

        Raises:
            RequestError: of the wrong type or out of range.
        """
        if self.choices:
            if value not in self.choices:
                fix = did_you_mean(str(value), self.choices)
                raise RequestError(f"{self.name} is {value!r}.", fix)
            return str(value)
        if isinstance(value, bool) and isinstance(self.default, bool):
            return value
        if not isinstance(value, int) or isinstance(value, bool) or isinstance(self.default, bool):
            wanted = type(self.default).__name__
            raise RequestError(f"{self.name} is {value!r}.", f"give {self.name} as {wanted}.")
        low, high = self.least, self.most
        if (low is not None and value < low) or (high is not None and value > high):
            raise RequestError(f"{self.name} {value} is not supported.", f"take {low} to {high}.")
        return value


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What a target makes a file of."""

    lowered: "LoweredVit"
    manifest: Manifest
    plan: "Plan"
    """Which layers are quantized, and how."""
    samples: Array
    """(M, C, H, W), for what has to be seen of a graph's numbers while it is built."""
    io_fp16: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file format: its name is the subcommand and the Python function."""

    name: str
    suffix: str
    summary: str
    """One sentence, for --help and the README."""
    note: str = ""
    """What its users should know before they choose it."""
    packages: tuple[str, ...]
    """What has to be installed, by the names pip knows."""
    options: tuple[Option, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    """Names in `precision.PRECISIONS`."""
    check: Callable[[str, Mapping[str, Any]], None] = lambda precision, settings: None  # noqa: ARG005 nothing to refuse
    """Refuses a precision that its settings make senseless, before any work."""
    build: Callable[[Job, Path, Progress], None]
    """Writes the artifact of a job, with its manifest inside, to a path."""
    extra: str = field(default="")
    """The pip extra that installs `packages`; empty where the base install has them."""

    def settings(self, given: Mapping[str, Any]) -> dict[str, bool | int | str]:
        """A value for every option, from `given` or the default.

        Raises:
            RequestError: an unknown option, a wrong type or range.
        """
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                raise RequestError(
                    f"{self.name} has no option {name!r}.", did_you_mean(name, known)
                )
        return {
            name: option.check(given.get(name, option.default)) for name, option in known.items()
        }
