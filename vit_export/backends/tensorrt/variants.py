"""The three ways to an engine, in the order in which they are tried, and which work here."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vit_export.backends.tensorrt.driver import Gpu
from vit_export.core.errors import MissingError

NO_GPU = "no GPU here"
BROKEN = "it is installed and can't be imported"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to an engine."""

    name: str
    title: str
    module: str
    package: str
    """By the name pip knows."""
    needs_gpu: bool
    """To build; to run, all of them do."""


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="tensorrt",
            title="TensorRT",
            module="tensorrt",
            package="tensorrt",
            needs_gpu=True,
        ),
        Kind(
            name="rtx",
            title="TensorRT for RTX",
            module="tensorrt_rtx",
            package="tensorrt-rtx",
            needs_gpu=False,
        ),
        Kind(
            name="torch",
            title="torch-tensorrt",
            module="torch_tensorrt",
            package="torch-tensorrt",
            needs_gpu=True,
        ),
    )
}
ANYWHERE = KINDS["rtx"]
"""What to install where nothing is: it builds with and without a GPU."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The way that is taken, and why not one before it."""

    kind: Kind
    library: Any
    """Its module."""
    passed_over: tuple[str, ...] = ()
    """One sentence for each."""

    @property
    def version(self) -> str:
        """Of the module."""
        return str(self.library.__version__)


def choose(asked: str, gpu: Gpu | None) -> Chosen:
    """The kind called `asked`, or with `auto` the first that works here.

    Raises:
        MissingError: it does not work here, or none does.
    """
    if asked != "auto":
        reason = _obstacle(KINDS[asked], gpu)
        if reason:
            raise _missing(KINDS[asked], reason)
        return Chosen(kind=KINDS[asked], library=load(KINDS[asked]))
    passed_over: list[str] = []
    for kind in KINDS.values():
        reason = _obstacle(kind, gpu)
        if not reason:
            return Chosen(kind=kind, library=load(kind), passed_over=tuple(passed_over))
        passed_over.append(f"{kind.name}: {reason}")
    message = f"No TensorRT works here: {'; '.join(passed_over)}."
    raise MissingError(message, f"pip install {ANYWHERE.package}")


def overview(gpu: Gpu | None) -> str:
    """Which kinds work here and which don't, without importing any."""
    told = [f"{kind.name}: {_absent(kind, gpu) or 'yes'}" for kind in KINDS.values()]
    where = f"{gpu.name} ({gpu.capability})" if gpu else "none"
    return f"GPU: {where}. Engines: {'; '.join(told)}."


def load(kind: Kind) -> Any:
    """The module of `kind`.

    Raises:
        MissingError: it is not installed, or can't be imported.
    """
    if find_spec(kind.module) is None:
        raise _missing(kind, "not installed")
    reason = _broken(kind)
    if reason:
        raise _missing(kind, reason)
    return import_module(kind.module)


def _broken(kind: Kind) -> str:
    """Why the module of `kind`, which is installed, can't be imported; empty where it can."""
    try:
        import_module(kind.module)
    except Exception as error:  # noqa: BLE001 a library of its own that is missing is told anyhow
        reason = str(error).partition("\n")[0]
        return f"{BROKEN} ({reason})"
    return ""


def _obstacle(kind: Kind, gpu: Gpu | None) -> str:
    """Why `kind` can't build here; empty where it can."""
    return _absent(kind, gpu) or _broken(kind)


def _absent(kind: Kind, gpu: Gpu | None) -> str:
    if find_spec(kind.module) is None:
        return "not installed"
    return f"{NO_GPU}, and it builds on one" if kind.needs_gpu and gpu is None else ""


def _missing(kind: Kind, reason: str) -> MissingError:
    fix = f"pip install {kind.package}"
    if reason.startswith(BROKEN):
        fix = f"pip install --force-reinstall {kind.package}, or take another --engine."
    if reason.startswith(NO_GPU):
        fix = f"build where the GPU is, or take --engine {ANYWHERE.name}, which needs none."
    return MissingError(f"{kind.title}: {reason}.", fix)
