"""Checks which backends work on this machine."""

from dataclasses import dataclass

from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.core.packages import find_versions


@dataclass(frozen=True)
class Health:
    """Whether one backend works on this machine. Field names are keys of --json."""

    target: str
    """Name of the backend."""
    versions: dict[str, str]
    """Versions of its packages that are installed."""
    missing: tuple[str, ...]
    """Packages to install, by their pip names."""
    note: str
    """What to know about the backend, and about this machine."""
    fix: str
    """The command that installs what is missing; empty if nothing is."""

    @property
    def works(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def doctor() -> list[Health]:
    """Check each backend, in the order in which they are listed, without importing any."""
    return [_check(backend) for backend in BACKENDS.values()]


def _check(backend: Backend) -> Health:
    missing = backend.missing_packages()
    return Health(
        target=backend.name,
        versions=find_versions((*backend.packages, *backend.one_of)),
        missing=missing,
        note=" ".join(filter(None, (backend.note, backend.describe_machine()))),
        fix=f"pip install {' '.join(missing)}" if missing else "",
    )
