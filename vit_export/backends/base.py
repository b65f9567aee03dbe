"""What a backend is: one kind of file, from its options to the advice on a rejected one.

`backends/__init__.py` lists the backends, one line each. Commands, `--help`, `doctor`, the tables
of the documentation and the contract tests are derived from the fields of each `Backend`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest, check_precision
from vit_export.backends import defaults
from vit_export.backends.job import Job
from vit_export.backends.openers import OpenOutputs, OpenTaps, OpenValues
from vit_export.backends.option import Option, Value
from vit_export.backends.records import (
    Description,
    RunFacts,
    Runtime,
)
from vit_export.backends.session import Session
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.packages import find_versions
from vit_export.core.progress import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Backend:
    """One kind of file. Its `name` is the subcommand and the Python function that write it."""

    name: str
    title: str
    """Name of the kind of file in messages."""
    suffix: str
    """The usual suffix of its files, with the dot."""
    owns_suffix: bool = True
    """Whether checkpoints never end in `suffix`."""
    summary: str
    """One sentence, for --help and the documentation."""
    note: str = ""
    """What its users should know before they choose it."""
    packages: tuple[str, ...]
    """Required packages, by their pip names."""
    one_of: Mapping[str, str] = field(default_factory=dict)
    """Alternative packages, one of which is required too, each with a module that it installs.

    The first is the one to recommend. Some have several pip names, so the module is looked up.
    """
    extra: str = ""
    """The pip extra that installs the packages; empty where the base install has them."""
    options: tuple[Option, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    """Names in `artifact.precision.PRECISIONS`."""
    program_precisions: tuple[str, ...] = ()
    """Those of files of a module that is no known Vision Transformer; empty if it has none."""
    precision_flags: Mapping[str, str] = field(default_factory=dict)
    """The precisions that have a flag of their own, by the name of the flag."""
    dynamic_batch: Batch | None = None
    """What `--batch dynamic` stands for where a file has optimization profiles.

    None where a file takes any batch and has no profiles.
    """
    on_gpu: bool = False
    """Whether its files run on a GPU."""
    runs_emulated: bool = False
    """Whether its files can be proven on the emulated CPUs of `validate --on`."""

    check_request: Callable[[QuantizationRequest, Mapping[str, Any]], None] = (
        defaults.accept_request
    )
    """Raise RequestError or MissingError unless the options make sense on this machine."""
    build: Callable[[Job, Path, Progress], Manifest]
    """Write the file of a job to a path; return the manifest that was written with it."""
    check_built: Callable[[Session, Manifest], Sequence[str]] = defaults.find_no_problem
    """Return the problems of an open artifact other than wrong answers, one sentence each."""
    find_precisions: Callable[[Path], Collection[str] | None] = defaults.read_no_precision
    """Return the precisions in which the file at a path computes; None if it cannot be read."""
    other_runtimes: Callable[[Manifest], Sequence[Runtime]] = defaults.have_one_runtime
    """Return the runtimes that a file with this manifest is for, besides that of `open`."""
    stand_in: Callable[[Path], Path | None] = defaults.have_no_stand_in
    """Return the file that is run in place of an artifact that cannot run here, or None."""
    finish: Callable[[Path, RunFacts, Mapping[str, Any]], Sequence[str]] = defaults.leave_as_is
    """Complete a proven file before it takes its name; return notes for the user."""
    keep_rejected: Callable[[Path], None] = defaults.keep_everything
    """Arrange the files of a rejected artifact before they are kept beside OUT."""
    remedy: Callable[[Path, RunFacts], str] | None = None
    """Return what to do about a rejected artifact that is kept at a path.

    None where `locate` finds what is wrong.
    """

    recognize: Callable[[Path], bool]
    """Return whether the content of a file is of this kind, intact or not."""
    is_artifact: Callable[[Path], bool] = defaults.assume_artifact
    """Return whether a recognized file is an artifact, and not a checkpoint in the same format."""
    open: Callable[[Path, int | None], Session]
    """Open a file with that many threads (None: the runtime's default).

    Raises RequestError for a damaged file, NotHereError for one that cannot run on this machine,
    and MissingError where the runtime is not installed.
    """
    read_own_manifest: Callable[[Path], Manifest]
    """Return the manifest inside or beside a file, which does not run; or raise RequestError."""
    find_danger: Callable[[Path], str] = defaults.find_no_danger
    """Return in words the code that opening a file would run; empty where there is none."""
    companions: Callable[[Path], Sequence[Path]] = defaults.stand_alone
    """Return the files beside an artifact that belong to it and are of no use without it."""
    warnings: Callable[[Manifest], Sequence[str]] = defaults.warn_of_nothing
    """Return warnings to print before an artifact with this manifest is validated again."""
    describe: Callable[[Path, Manifest], Description] = defaults.describe_nothing
    """Return what `inspect` shows of a file besides its manifest."""
    open_outputs: OpenOutputs | None = None
    """Open a file that another tool wrote; None where only our own files can be judged."""
    describe_foreign: Callable[[Path], Description | None] = defaults.describe_no_foreign
    """Return what `inspect` shows of another tool's file; None for our own."""
    open_taps: OpenTaps | None = None
    """Open a file so that its modules answer one by one; None where that is impossible."""
    open_values: OpenValues | None = None
    """Open a file of any module so that its values answer; None as for `open_taps`."""
    locate_instead: str = "export the model with vit-export onnx, and locate in that file."
    """What to do instead where `open_taps` is None."""
    describe_machine: Callable[[], str] = defaults.describe_no_machine
    """Return what `doctor` says of this machine besides the installed packages."""

    def read_manifest(self, path: Path) -> Manifest:
        """Return the manifest of the file at `path`, without running the file.

        Raises:
            RequestError: the file is damaged, or carries no manifest of ours for such a file.
        """
        return self.check_target(self.read_own_manifest(path), path)

    def check_target(self, manifest: Manifest, path: Path) -> Manifest:
        """Return `manifest`; raise RequestError if it is for another kind of file than `path`."""
        if manifest.target != self.name:
            message = f"{path}: target is {manifest.target!r}, and the file is {self.title}."
            raise RequestError(message, "export the model again.")
        return manifest

    def advise(self, rejected: Path, facts: RunFacts) -> str:
        """Return what to do about a rejected artifact, kept at a path, without a full stop."""
        if self.remedy is not None:
            return self.remedy(rejected, facts)
        if self.open_taps is not None:
            return f"vit-export locate {rejected} says where"
        return self.locate_instead.rstrip(".")

    def parse_options(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Return a value for every option: that of `values`, or the default.

        `values` may hold flags of `precision_flags` too, which are no options.

        Raises:
            RequestError: an option is unknown, or its value has a wrong type or range.
        """
        options = {option.name: option for option in self.options}
        for name in values:
            if name not in options and name not in self.precision_flags:
                fix = did_you_mean(name, options)
                raise RequestError(f"{self.name} has no option {name!r}.", fix)
        return {
            name: option.check(values.get(name, option.default)) for name, option in options.items()
        }

    def recorded_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of `options` that the manifest keeps."""
        return {one.name: options[one.name] for one in self.options if one.recorded}

    def check(self, request: QuantizationRequest, options: Mapping[str, Any]) -> None:
        """Raise RequestError unless such a file can be built.

        Raises:
            RequestError: the request makes no sense.
            MissingError: this machine lacks something that the request needs.
        """
        check_precision(request, self.name, self.precisions)
        self.check_request(request, options)

    def missing_packages(self) -> tuple[str, ...]:
        """Return what has to be installed before this backend works, by pip names."""
        installed = find_versions(self.packages)
        missing = tuple(name for name in self.packages if name not in installed)
        if not self.one_of or any(find_spec(module) for module in self.one_of.values()):
            return missing
        return (*missing, next(iter(self.one_of)))

    def resolve_batch(self, batch: Batch) -> Batch:
        """Return the batches that a file of this backend takes when `batch` is requested.

        Raises:
            RequestError: several ranges are requested, and its files have no profiles.
        """
        if self.dynamic_batch is None:
            if batch.several:
                message = f"{self.name} takes one --batch: its files have no profiles."
                raise RequestError(message, f"take --batch {batch.min}:{batch.opt}:{batch.max}.")
            return batch
        return self.dynamic_batch if batch.max is None else batch

    def resolve_precision(self, name: str | None, values: Mapping[str, Any]) -> str:
        """Return the precision that `name`, or a flag of `precision_flags` in `values`, requests.

        It is fp32 where neither requests one.

        Raises:
            RequestError: they contradict each other.
        """
        flags = [one for flag, one in self.precision_flags.items() if values.get(flag)]
        requested = list(dict.fromkeys([*flags, *([name] if name else [])]))
        if len(requested) > 1:
            message = f"The precisions {' and '.join(requested)} are requested at once."
            raise RequestError(message, "request one precision.")
        return requested[0] if requested else "fp32"
