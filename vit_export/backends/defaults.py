"""The default hooks of a backend: for a single file that runs anywhere and needs no extra steps."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.records import Description, RunFacts, Runtime
from vit_export.backends.session import Session

# ruff: noqa: ARG001 these have the signatures of the hooks that they stand in for


def accept_request(request: QuantizationRequest, options: Mapping[str, Any]) -> None:
    """Any options go together."""


def find_no_problem(session: Session, manifest: Manifest) -> Sequence[str]:
    """The answers alone decide whether an artifact is the model."""
    return ()


def read_no_precision(path: Path) -> Collection[str] | None:
    """The arithmetic of the file cannot be read without its runtime."""
    return None


def have_one_runtime(manifest: Manifest) -> Sequence[Runtime]:
    """One runtime opens all such files."""
    return ()


def have_no_stand_in(path: Path) -> Path | None:
    """The artifact answers for itself."""
    return None


def leave_as_is(path: Path, facts: RunFacts, options: Mapping[str, Any]) -> Sequence[str]:
    """A proven file is complete, and there is nothing to note."""
    return ()


def keep_everything(path: Path) -> None:
    """All files of a rejected artifact are kept as they are."""


def assume_artifact(path: Path) -> bool:
    """No checkpoint is in this format."""
    return True


def find_no_danger(path: Path) -> str:
    """To open the file runs no code of its author's."""
    return ""


def stand_alone(path: Path) -> Sequence[Path]:
    """An artifact is one file."""
    return ()


def warn_of_nothing(manifest: Manifest) -> Sequence[str]:
    """There is nothing to warn of."""
    return ()


def describe_nothing(path: Path, manifest: Manifest) -> Description:
    """The manifest says everything."""
    return Description()


def describe_no_foreign(path: Path) -> Description | None:
    """Files of such a kind are ours, or not described."""
    return None


def describe_no_machine() -> str:
    """The installed packages say everything."""
    return ""
