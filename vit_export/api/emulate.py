"""Lists the emulators of `validate --on`, and installs them."""

from dataclasses import dataclass

from vit_export.core.progress import Progress, silent
from vit_export.validation.emulation.components import COMPONENTS, Component, list_cpus
from vit_export.validation.emulation.install import install as install_components
from vit_export.validation.emulation.store import INSTALL, is_installed, locate


@dataclass(frozen=True)
class Emulator:
    """One part of what emulates CPUs. Field names are keys of --json."""

    name: str
    title: str
    """Its programs and their versions."""
    cpus: tuple[str, ...]
    """The names for `validate --on` that need it."""
    installed: bool
    folder: str
    """Where it is, or will be."""
    fix: str
    """The command that installs it; empty if it is installed."""


def emulate(*, install: bool = False, progress: Progress = silent) -> list[Emulator]:
    """List what emulates the CPUs of `validate(on=...)`.

    Args:
        install: fetch what is missing first, with apt, pip and npm, into a folder of the user's
            cache; nothing is fetched otherwise.
        progress: opened around every download.

    Raises:
        MissingError: this machine can't have emulators, or lacks a program that fetches them.
        BuildError: a download fails, or is not the pinned file.
    """
    if install:
        install_components(progress)
    return [_describe(component) for component in COMPONENTS]


def _describe(component: Component) -> Emulator:
    installed = is_installed(component)
    return Emulator(
        name=component.name,
        title=component.title,
        cpus=tuple(cpu.name for cpu in list_cpus(component)),
        installed=installed,
        folder=str(locate(component)),
        fix="" if installed else INSTALL,
    )
