"""Checks which backends, and which emulators, work on this machine."""

from dataclasses import dataclass

from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.core.packages import find_versions
from vit_export.validation.emulation.components import COMPONENTS, list_cpus
from vit_export.validation.emulation.store import INSTALL, is_installed


@dataclass(frozen=True)
class Health:
    """Whether one backend works on this machine. Field names are keys of --json."""

    target: str
    """Name of the backend, or `emulation` for the CPUs of `validate --on`."""
    versions: dict[str, str]
    """Versions of its packages that are installed."""
    missing: tuple[str, ...]
    """Packages to install, by their pip names; for `emulation`, what the fix installs."""
    note: str
    """What to know about the backend, and about this machine."""
    fix: str
    """The command that installs what is missing; empty if nothing is."""

    @property
    def works(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def doctor() -> list[Health]:
    """Check each backend, in the order in which they are listed, and the emulators last.

    No backend is imported.
    """
    return [*(_check(backend) for backend in BACKENDS.values()), _check_emulation()]


def _check(backend: Backend) -> Health:
    missing = backend.missing_packages()
    return Health(
        target=backend.name,
        versions=find_versions((*backend.packages, *backend.one_of)),
        missing=missing,
        note=" ".join(filter(None, (backend.note, backend.describe_machine()))),
        fix=f"pip install {' '.join(missing)}" if missing else "",
    )


def _check_emulation() -> Health:
    installed = [one for one in COMPONENTS if is_installed(one)]
    missing = [one for one in COMPONENTS if one not in installed]
    names = dict.fromkeys(cpu.name for one in COMPONENTS for cpu in list_cpus(one))
    return Health(
        target="emulation",
        versions={one.name: one.version for one in installed},
        missing=tuple(one.title for one in missing),
        note=f"Proves an ONNX file with validate --on {','.join(names)}.",
        fix=INSTALL if missing else "",
    )
