"""The proof of a file that exists, repeated from its manifest, or afresh from its weights."""

from pathlib import Path

from vit_export.compare import Tolerance
from vit_export.errors import MissingError
from vit_export.manifest import Array, Manifest, Reference
from vit_export.progress import Progress, silent
from vit_export.proof import prove
from vit_export.remade import remade_vit
from vit_export.runtimes import open_artifact, read_manifest
from vit_export.samples import make_samples
from vit_export.verdict import Verdict


def validate_file(
    path: Path, weights: Path | None, threads: int | None, progress: Progress = silent
) -> tuple[Verdict, Manifest]:
    """The verdict on the artifact at `path`, and its manifest; without `weights` torch is not used.

    Raises:
        RequestError: no artifact of ours, or weights that do not fit.
        MissingError: its runtime is not installed, or no sample can be made again here.
    """
    session = open_artifact(path, threads)
    manifest = read_manifest(session, path)
    with progress("make the samples again"):
        made = make_samples(manifest.reference.recipes, manifest.spec, manifest.preprocessing)
    reference, source = manifest.reference, Verdict.reference
    if weights is not None:
        with progress("answer in eager PyTorch"):
            reference = _afresh(manifest, weights, made)
        source = f"eager PyTorch, afresh from {weights.name}"
    verdict = prove(
        session,
        path,
        reference,
        made,
        batch=manifest.batch,
        precision=manifest.precision,
        tolerance=Tolerance(**manifest.tolerance),
        classifies=manifest.spec.classifies,
        progress=progress,
        source=source,
    )
    if len(verdict.not_repeated) == len(made):
        message = f"{path}: none of its samples could be made again here."
        raise MissingError(message, f"install {dict(manifest.versions)}.")
    return verdict, manifest


def _afresh(manifest: Manifest, weights: Path, samples: Array) -> Reference:
    from vit_export.vit.reference import reference_of

    return reference_of(remade_vit(manifest, weights), manifest.reference.recipes, samples)
