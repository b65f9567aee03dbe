"""What works on this machine."""

from dataclasses import dataclass

from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.core.packages import versions_of


@dataclass(frozen=True)
class Health:
    """What one backend finds on this machine. Field names are keys of --json."""

    target: str
    """Name of the backend."""
    versions: dict[str, str]
    """Versions of its packages that are installed."""
    missing: tuple[str, ...]
    """Packages to install, by the names pip knows."""
    note: str
    """What to know about the backend, and about this machine."""
    fix: str
    """The command that installs what is missing; empty if nothing is."""

    @property
    def works(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def doctor() -> list[Health]:
    """The health of each backend, in the order in which they are listed; imports none of them."""
    return [_check(backend) for backend in BACKENDS.values()]


def _check(backend: Backend) -> Health:
    missing = backend.missing_packages()
    return Health(
        target=backend.name,
        versions=versions_of((*backend.packages, *backend.one_of)),
        missing=missing,
        note=" ".join(filter(None, (backend.note, backend.describe_machine()))),
        fix=f"pip install {' '.join(missing)}" if missing else "",
    )
