"""The proof of one ONNX file on every emulated CPU that the user names."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of
from vit_export.backends.session import RunFailedError, Session
from vit_export.core.errors import RequestError
from vit_export.core.progress import Progress, ReportShare
from vit_export.validation.emulation.cpus import EmulatedCpu, find_cpus
from vit_export.validation.emulation.session import open_emulated
from vit_export.validation.emulation.store import check_installed
from vit_export.validation.expectation import Expectation
from vit_export.validation.samples import FileInputs
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import Verdict


def find_ready_cpus(names: Iterable[str], artifact: Path) -> tuple[EmulatedCpu, ...]:
    """Return the emulated CPUs of these names, all of which can run `artifact`.

    Raises:
        RequestError: there is none of some name, or no emulated runtime reads such a file.
        MissingError: an emulator is not installed.
    """
    cpus = find_cpus(names)
    if cpus:
        backend = find_backend_of(artifact)
        if not backend.runs_emulated:
            message = f"{artifact} is a {backend.title} file: --on runs ONNX files."
            raise RequestError(message, "export the model with vit-export onnx, and prove that.")
        check_installed(cpus)
    return cpus


@dataclass(frozen=True, eq=False)
class Claim:
    """What a file has to answer wherever it runs."""

    artifact: Path
    manifest: Manifest
    expectation: Expectation
    file_inputs: FileInputs
    source: str
    """Where the right answers come from, in words."""

    def validate(self, session: Session, *, progress: Progress) -> Verdict:
        """Return the verdict on the file as `session` runs it."""
        return validate_artifact(
            session,
            self.artifact,
            self.manifest,
            self.expectation,
            self.file_inputs,
            progress=progress,
            source=self.source,
        )


def validate_emulated(
    cpu: EmulatedCpu, claim: Claim, threads: int | None, progress: Progress
) -> Verdict:
    """Return the verdict on a file as `cpu` runs it.

    A file that the runtime there does not open is rejected.

    Raises:
        MissingError: the emulated process is not what it should be.
        BuildError: the emulator crashed, or takes too long.
    """

    def show_stage(stage: str) -> AbstractContextManager[ReportShare | None]:
        return progress(f"{cpu.name}: {stage}")

    try:
        with open_emulated(cpu, claim.artifact, threads) as session:
            return claim.validate(session, progress=show_stage)
    except RunFailedError as error:
        reason = f"it can't be opened on {cpu.name}: {error.message}"
        return Verdict.reject(claim.artifact, claim.manifest.precision, reason)
