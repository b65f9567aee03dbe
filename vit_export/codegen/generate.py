"""A C++ project around an artifact, with golden samples that its tests compare with."""

import shlex
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.session import Session
from vit_export.checkpoints.from_manifest import rebuild_identical_vit
from vit_export.codegen.golden import Golden, recipes_of
from vit_export.codegen.project import RUNTIMES, check_target, file_name, write_project
from vit_export.core.errors import RequestError
from vit_export.core.progress import Progress
from vit_export.core.staging import data_files, staged_folder
from vit_export.data.pillow_resize import check_resizable, columns_may_come_first
from vit_export.data.preprocessing import Preprocessing
from vit_export.validation.sample_set import make_image_sample_set
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import RejectedError


@dataclass(frozen=True)
class Generated:
    """A project that was written."""

    path: Path
    preprocess: str
    """`graph` where the model file resizes, `cpp` where the program does."""
    images: int
    """Golden ones."""
    flag: str
    """Of CMake, that says where the runtime is."""

    @property
    def commands(self) -> tuple[str, ...]:
        """What builds and tests it, as a shell takes it."""
        home, build = shlex.quote(f"{self.path}"), shlex.quote(f"{self.path / 'build'}")
        return (
            f"cmake -S {home} -B {build} {self.flag}=...",
            f"cmake --build {build} --parallel",
            f"ctest --test-dir {build} --output-on-failure",
        )

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"path": str(self.path), "commands": self.commands}


def generate(
    artifact: Path,
    out: Path,
    *,
    preprocess: str | None,
    weights: Path | None,
    force: bool,
    progress: Progress,
) -> Generated:
    """Write the project of an artifact into the folder `out`; see `vit_export.cpp`.

    Raises:
        RequestError: C++ cannot classify with the artifact, `weights` are not its own, or `out` is
            not empty.
        RejectedError: the artifact does not answer as eager PyTorch does.
    """
    manifest, steps = _checked(artifact, preprocess)
    with staged_folder(out, force=force) as folder:
        with progress("answer in eager PyTorch"):
            golden = _golden(manifest, steps, weights)
        copy = _copied(artifact, folder / file_name(manifest))
        with progress("hold the artifact against it"):
            _check(copy, artifact, golden)
        (folder / "golden").mkdir()
        images = golden.write(folder / "golden", steps)
        write_project(folder, manifest, steps, images)
    place = "graph" if manifest.takes_pixels else "cpp"
    return Generated(out, place, len(images), RUNTIMES[manifest.target].flag)


def _checked(artifact: Path, preprocess: str | None) -> tuple[Manifest, Preprocessing]:
    session = open_artifact(artifact)
    manifest = read_manifest(session, artifact)
    check_target(manifest.target)
    if not manifest.signature.classifies:
        message = f"{artifact} has no classes: it answers {manifest.signature.answer}."
        raise RequestError(message, "export it with its classifier.")
    if not manifest.batch.takes(1):
        message = f"{artifact} takes no single image, its batch is {manifest.batch}."
        raise RequestError(message, "export it with --batch dynamic.")
    if session.takes_fp16:
        message = f"{artifact} takes numbers of 16 bits, which C++ does not have."
        raise RequestError(message, "export it without --io-fp16.")
    steps = check_resizable(manifest.preprocessing)
    inside = manifest.takes_pixels
    if preprocess == "graph" and not inside:
        message = f"{artifact} takes normalized numbers, not images."
        raise RequestError(message, "export it with --preprocess graph, or take --preprocess cpp.")
    if preprocess == "cpp" and inside:
        message = f"{artifact} preprocesses by itself."
        raise RequestError(message, "leave --preprocess out, or export it with --preprocess none.")
    return manifest, steps


def _golden(manifest: Manifest, steps: Preprocessing, weights: Path | None) -> Golden:
    """The samples of the manifest where they are images; else others, answered afresh."""
    recipes = recipes_of(manifest, steps)
    samples = make_image_sample_set(recipes, steps, pixels=manifest.takes_pixels)
    if manifest.takes_pixels and weights is None:
        return Golden(manifest, samples, manifest.reference)
    _check_pillow(manifest)
    from vit_export.validation.reference import compute_reference

    vit = rebuild_identical_vit(manifest, weights)
    reference = compute_reference(vit, samples)
    return Golden(manifest, samples, reference)


def _check_pillow(manifest: Manifest) -> None:
    import PIL

    former = manifest.versions["pillow"]
    if manifest.takes_pixels and columns_may_come_first(former) != columns_may_come_first(
        PIL.__version__
    ):
        message = f"The file resizes as Pillow {former}; here is {PIL.__version__}, which differs."
        raise RequestError(message, "leave --weights out, or export the model again.")


def _copied(artifact: Path, to: Path) -> Session:
    """A session on a copy, which is what the program will open."""
    shutil.copyfile(artifact, to)
    for data in data_files(artifact):  # the model names them, so they keep their names
        shutil.copyfile(data, to.with_name(data.name))
    try:
        return open_artifact(to)
    except RequestError as error:
        message = f"{artifact} opens where it is, and a copy does not: its data has another name."
        raise RequestError(message, error.fix) from None


def _check(session: Session, artifact: Path, golden: Golden) -> None:
    alone = replace(golden.manifest, batch=Batch(1, 1, 1))
    file_inputs = golden.samples.file_inputs
    verdict = validate_artifact(session, artifact, alone, golden.reference, file_inputs)
    if verdict.status != "PROVEN":
        raise RejectedError(verdict, "export the model again.")
