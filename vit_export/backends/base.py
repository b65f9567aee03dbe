"""What a target is: a format that users ask for by name, and how it is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest, check_precision
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.numerics import Array
from vit_export.core.packages import versions_of
from vit_export.core.progress import Progress
from vit_export.validation.verdict import Verdict

if TYPE_CHECKING:  # torch is heavy, and listing targets must be light
    from vit_export.model.vit.lowering import LoweredVit
    from vit_export.quantization.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Option:
    """One setting of a target: a keyword in Python, a flag on the command line."""

    name: str
    """The keyword in Python, and with dashes the flag where `flag` is empty."""
    default: bool | int | str
    help: str
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    """Of a word; a word without choices is any text."""
    flag: str = ""
    metavar: str = "N"
    recorded: bool = True
    """Whether the manifest tells of it: not of a path, nor of what changes nothing in the file."""

    @property
    def flag_name(self) -> str:
        """On the command line, without its dashes."""
        return self.flag or self.name.replace("_", "-")

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
        if isinstance(self.default, str) and isinstance(value, str | PathLike):
            return str(value)
        if isinstance(value, bool) and isinstance(self.default, bool):
            return value
        if type(value) is not int or type(self.default) is not int:
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
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The target's own options, those too that the manifest does not tell of."""


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
    one_of: Mapping[str, str] = field(default_factory=dict)
    """Packages of which one has to be there too, and the module of each; the first is what to
    install. The module decides: some packages have several names (tensorrt, tensorrt-cu12)."""
    profile: Batch | None = None
    """Of a target with optimization profiles: what `dynamic` stands for."""
    shorts: Mapping[str, str] = field(default_factory=dict)
    """Flags of their own for some precisions."""
    options: tuple[Option, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    """Names in `precision.PRECISIONS`."""
    check: Callable[[QuantizationRequest, Mapping[str, Any]], None] = lambda asked, settings: None  # noqa: ARG005 nothing to refuse
    """Refuses what its settings make senseless, before any work."""
    build: Callable[[Job, Path, Progress], None]
    """Writes the artifact of a job, with its manifest inside, to a path."""
    stand_in: Callable[[Path], Path | None] = lambda path: None  # noqa: ARG005 it runs anywhere
    """What answers for an artifact where that can't run: the graph that it was made of."""
    finish: Callable[[Path, Verdict, Mapping[str, Any]], tuple[str, ...]] = (
        lambda path, verdict, settings: ()  # noqa: ARG005 there is nothing to be done
    )
    """Done to a judged artifact before it takes its name; what has to be said of it."""
    remedy: Callable[[Path, Verdict], str] = (
        lambda kept, verdict: f"vit-export locate {kept} says where"  # noqa: ARG005 whatever is wrong
    )
    """What to do about a rejected artifact, kept at a path."""
    former: Callable[[Path], tuple[Path, ...]] = lambda path: ()  # noqa: ARG005 it is one file
    """What stands beside an earlier artifact at a path, and is of no use without it."""
    here: Callable[[], str] = lambda: ""
    """What `doctor` says of this machine besides."""
    extra: str = field(default="")
    """The pip extra that installs `packages`; empty where the base install has them."""

    def settings(self, given: Mapping[str, Any]) -> dict[str, bool | int | str]:
        """A value for every option, from `given` or the default; flags of `shorts` are none.

        Raises:
            RequestError: an unknown option, a wrong type or range.
        """
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known and name not in self.shorts:
                raise RequestError(
                    f"{self.name} has no option {name!r}.", did_you_mean(name, known)
                )
        return {
            name: option.check(given.get(name, option.default)) for name, option in known.items()
        }

    def check_all(self, asked: QuantizationRequest, settings: Mapping[str, Any]) -> None:
        """Nothing, when this target can be built as asked.

        Raises:
            RequestError: the request makes no sense.
            MissingError: something that it needs is not here.
        """
        check_precision(asked, self.name, self.precisions)
        self.check(asked, settings)

    def recorded(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those settings that the manifest tells of."""
        return {one.name: settings[one.name] for one in self.options if one.recorded}

    def missing(self) -> tuple[str, ...]:
        """What has to be installed before this target works here, by the names pip knows."""
        there = versions_of(self.packages)
        lacking = tuple(name for name in self.packages if name not in there)
        one_there = not self.one_of or any(find_spec(module) for module in self.one_of.values())
        return (*lacking, *(() if one_there else tuple(self.one_of)[:1]))

    def sizes(self, batch: Batch) -> Batch:
        """The batches that a file of this target takes when `batch` is asked for.

        Raises:
            RequestError: several ranges, and it has no profiles.
        """
        if self.profile is None:
            if batch.several:
                message = f"{self.name} takes one --batch; profiles are an engine's."
                raise RequestError(message, f"take {batch.least}:{batch.usual}:{batch.most}.")
            return batch
        return self.profile if batch.most is None else batch

    def precision_of(self, asked: str | None, given: Mapping[str, Any]) -> str:
        """The precision that is asked for by name or by a flag of `shorts`; fp32 if nobody says.

        Raises:
            RequestError: they contradict each other.
        """
        short = [self.shorts[name] for name in self.shorts if given.get(name)]
        wanted = list(dict.fromkeys([*short, *([asked] if asked else [])]))
        if len(wanted) > 1:
            raise RequestError(f"{' and '.join(wanted)} at once.", "ask for one precision.")
        return wanted[0] if wanted else "fp32"
