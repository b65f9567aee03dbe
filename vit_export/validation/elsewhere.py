"""The proof of a file in the other runtimes that it is for, where they are installed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends import find_backend
from vit_export.backends.records import Runtime
from vit_export.backends.session import Session
from vit_export.core.errors import MissingError, RequestError
from vit_export.core.progress import Progress
from vit_export.validation.verdict import Verdict


def validate_elsewhere(
    verdict: Verdict,
    path: Path,
    manifest: Manifest,
    prove: Callable[[Session], Verdict],
    *,
    threads: int | None,
    progress: Progress,
) -> Verdict:
    """Return `verdict` with those of the other runtimes that the file at `path` is for.

    Each runtime opens the file anew, so that its first answer is proven too. A runtime that cannot
    open it here is a caveat.

    Args:
        verdict: the verdict on the file in the runtime that opens every file of its kind.
        path: the file.
        manifest: the file's manifest.
        prove: returns the verdict on an open session.
        threads: threads of a runtime; None for its default.
        progress: opened around every runtime.
    """
    elsewhere, missing = [], []
    for runtime in find_backend(manifest.target).other_runtimes(manifest):
        with progress(f"open in {runtime.name}"):
            opened = _open(runtime, path, threads)
        if isinstance(opened, MissingError):
            missing.append(f"not run in {runtime.name}: {opened.fix}")
        elif isinstance(opened, RequestError):
            elsewhere.append(Verdict.reject(path, manifest.precision, opened.message))
        else:
            elsewhere.append(prove(opened))
    caveats = (*verdict.caveats, *missing)
    return replace(verdict, elsewhere=tuple(elsewhere), caveats=caveats)


def _open(
    runtime: Runtime, path: Path, threads: int | None
) -> Session | MissingError | RequestError:
    """Return a session on the file at `path`, or why there is none."""
    try:
        return runtime.open(path, threads)
    except (MissingError, RequestError) as error:
        return error
