"""A C++ project around an artifact, with golden samples for its tests."""

import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of, open_artifact, read_manifest
from vit_export.backends.session import Session
from vit_export.checkpoints.rebuild import ModelSource, rebuild_identical
from vit_export.codegen.golden import Golden, choose_golden_recipes
from vit_export.codegen.names import check_labels, check_name, choose_name
from vit_export.codegen.project import name_model_file, write_project
from vit_export.codegen.quoting import ManifestText, quote_shell
from vit_export.codegen.runtimes import load_runtime
from vit_export.core.errors import RequestError
from vit_export.core.folder_staging import stage_folder
from vit_export.core.progress import Progress
from vit_export.core.staging import data_files
from vit_export.data.pillow_resize import check_resizable, columns_may_come_first
from vit_export.data.preprocessing import Preprocessing
from vit_export.validation.claims import choose_tolerance
from vit_export.validation.expectation import Expectation
from vit_export.validation.sample_set import make_image_sample_set
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import RejectedError


@dataclass(frozen=True)
class CppProject:
    """A C++ project on disk."""

    path: Path
    """Its folder."""
    name: str
    """The name of its library in CMake and of its namespace in C++."""
    preprocess: str
    """Where images are resized: `graph` for the model file, `cpp` for the program."""
    images: int
    """Number of golden images."""
    flag: str
    """The CMake flag that says where the runtime is."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The shell commands that build and test the project."""
        home, build = (
            quote_shell(ManifestText(f"{path}")) for path in (self.path, self.path / "build")
        )
        return (
            f"cmake -S {home} -B {build} {self.flag}=...",
            f"cmake --build {build} --parallel",
            f"cmake -E chdir {build} ctest --output-on-failure",
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields and the commands as plain values, ready for JSON."""
        return asdict(self) | {"path": str(self.path), "commands": self.commands}


def generate_project(
    artifact: Path,
    out: Path,
    *,
    name: str | None,
    preprocess: str | None,
    source: ModelSource,
    force: bool,
    progress: Progress,
) -> CppProject:
    """Write the project of an artifact into the folder `out`; `vit_export.cpp` has the arguments.

    Raises:
        RequestError: C++ can't classify with the artifact, `source` is not its own, `name` is no
            name of a library, or `out` is not empty.
        RejectedError: the artifact does not answer as eager PyTorch does.
    """
    manifest, preprocessing = _read_suitable(artifact, preprocess)
    check_labels(manifest.labels, artifact)
    name = choose_name(manifest.model) if name is None else check_name(name)
    with stage_folder(out, force=force, progress=progress) as folder:
        with progress("answer in eager PyTorch"):
            golden = _make_golden(manifest, preprocessing, source)
        session = _open_copy(artifact, folder / name_model_file(manifest))
        with progress("compare the artifact with eager PyTorch"):
            _check_answers(session, artifact, golden)
        (folder / "golden").mkdir()
        images = golden.write(folder / "golden", preprocessing)
        write_project(folder, manifest, preprocessing, name=name, images=images)
    place = "graph" if manifest.takes_pixels else "cpp"
    return CppProject(out, name, place, len(images), load_runtime(manifest.target).flag)


def _read_suitable(artifact: Path, preprocess: str | None) -> tuple[Manifest, Preprocessing]:
    """Return the manifest and the preprocessing of an artifact that suits a C++ project.

    The manifest's tolerance is the one of the file's arithmetic, whatever the file claims.

    Raises:
        RequestError: it does not suit one, or does not preprocess where `preprocess` says.
    """
    load_runtime(find_backend_of(artifact).read_manifest(artifact).target)
    session = open_artifact(artifact)
    manifest = read_manifest(session, artifact)
    arithmetic = find_backend_of(artifact).find_precisions(artifact)
    manifest = replace(manifest, tolerance=choose_tolerance(manifest, arithmetic))
    if not manifest.signature.takes_images:
        message = f"{artifact} takes no images, which the program would answer."
        raise RequestError(message, "run it in its runtime.")
    if not manifest.batch.takes(1):
        message = f"{artifact} takes no single image: its batch is {manifest.batch}."
        raise RequestError(message, "export it with --batch dynamic.")
    if session.takes_fp16:
        message = f"{artifact} takes fp16 numbers, for which C++17 has no type."
        raise RequestError(message, "export it without --io-fp16.")
    preprocessing = check_resizable(manifest.preprocessing)
    inside = manifest.takes_pixels
    if preprocess == "graph" and not inside:
        message = f"{artifact} takes normalized numbers, not images."
        raise RequestError(message, "export it with --preprocess graph, or take --preprocess cpp.")
    if preprocess == "cpp" and inside:
        message = f"{artifact} preprocesses by itself."
        raise RequestError(message, "leave --preprocess out, or export it with --preprocess none.")
    return manifest, preprocessing


def _make_golden(manifest: Manifest, preprocessing: Preprocessing, source: ModelSource) -> Golden:
    """Return the samples of the manifest if they are images, else new ones with new answers.

    Raises:
        RequestError: the weights are not those of the artifact or nowhere to be found, the code of
            a module is missing, or the Pillow of this machine resizes differently.
    """
    recipes = choose_golden_recipes(manifest, preprocessing)
    samples = make_image_sample_set(recipes, preprocessing, pixels=manifest.takes_pixels)
    if manifest.takes_pixels and source == ModelSource():
        return Golden(manifest, samples, manifest.reference)
    _check_pillow(manifest)
    from vit_export.validation.reference import compute_reference

    model = rebuild_identical(manifest, source)
    return Golden(manifest, samples, compute_reference(model.module, samples, model.signature))


def _check_pillow(manifest: Manifest) -> None:
    """Raise RequestError if the file resizes by itself, and not as the Pillow of this machine."""
    import PIL

    if not manifest.takes_pixels:
        return
    file, here = manifest.versions.get("pillow", ""), PIL.__version__
    if not re.match("[0-9]{1,4}[.]", file):
        message = f"The file resizes by itself, and does not record as which Pillow: {file!r}."
        raise RequestError(message, "leave --weights out, or export the model again.")
    if columns_may_come_first(file) == columns_may_come_first(here):
        return
    message = f"The file resizes as Pillow {file} does, and differs from Pillow {here} here."
    raise RequestError(message, "leave --weights out, or export the model again.")


def _open_copy(artifact: Path, copy: Path) -> Session:
    """Copy an artifact into the project and return a session on the copy.

    Raises:
        RequestError: the copy can't be opened.
    """
    shutil.copyfile(artifact, copy)
    for data in data_files(artifact):  # the model names them, so they keep their names
        shutil.copyfile(data, copy.with_name(data.name))
    try:
        return open_artifact(copy)
    except RequestError as error:
        message = f"{artifact} opens, and a copy of it does not: its data file has another name."
        raise RequestError(message, error.fix) from None


def _check_answers(session: Session, artifact: Path, golden: Golden) -> None:
    """Raise RejectedError unless the session answers as eager PyTorch, one image at a time."""
    single = replace(golden.manifest, batch=Batch(1, 1, 1))
    expectation = Expectation.from_manifest(single, golden.reference, single.tolerance)
    file_inputs = golden.samples.file_inputs
    verdict = validate_artifact(session, artifact, single, expectation, file_inputs)
    if verdict.status != "PROVEN":
        raise RejectedError(verdict, "export the model again.")
