"""Which targets work on this machine, with versions, and what to install for the others."""

from dataclasses import dataclass

from vit_export.backends import BACKENDS
from vit_export.backends.base import Backend
from vit_export.core.packages import versions_of


@dataclass(frozen=True)
class Health:
    """What one target finds here."""

    target: str
    versions: dict[str, str]
    missing: tuple[str, ...]
    note: str
    fix: str

    @property
    def works(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def examine() -> list[Health]:
    """One entry per target, in their order. Nothing is imported."""
    return [_examine(target) for target in BACKENDS.values()]


def _examine(target: Backend) -> Health:
    versions = versions_of((*target.packages, *target.one_of))
    missing = target.missing_packages()
    fix = f"pip install {' '.join(missing)}" if missing else ""
    note = " ".join(filter(None, (target.note, target.describe_machine())))
    return Health(target.name, versions, missing, note, fix)
