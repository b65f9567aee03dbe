"""Makes the folder that travels: wheel, TorchScript files and manifests, images, engines."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import distribution, version
from pathlib import Path

from gpu_parts.folder import (
    ENGINES,
    Model,
    StopError,
    find_damage,
    measure,
    read_contents,
    split,
    write_contents,
)

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "models" / "fashion_mnist" / "images"
RTX_PACKAGES = ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")
PYTHON, GLIBC = "3.12", ("2_28", "2_27", "2_17")
"""The Python and the systems that the bindings of TensorRT for RTX are taken for."""
GRAPHS = {"fp32": (), "fp16": ("--precision", "fp16")}
"""Graphs that engines are built from where the GPU is."""
SAY = Callable[[str], None]


def prepare(
    folder: Path, models: Sequence[Model], *, engines: bool, python: str = PYTHON, say: SAY = print
) -> None:
    """Write everything that a bare machine with a GPU needs into `folder`.

    Args:
        folder: a new folder, an empty one, or one of an earlier call, which is replaced.
        models: the TorchScript files to prove there.
        engines: whether engines and TensorRT for RTX travel too.
        python: the Python of that machine, for the bindings of TensorRT for RTX.
        say: called with each stage.

    Raises:
        StopError: the folder holds something else, or a file could not be made.
    """
    if folder.exists() and any(folder.iterdir()):
        read_contents(folder)  # ends here unless it is such a folder
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    say("the wheel of vit-export")
    _call(sys.executable, *_pip("wheel"), "--no-deps", "-w", folder / "wheels", ROOT)
    _copy_pure("einops", folder / "pure")
    shutil.copytree(IMAGES, folder / "images")
    made = _export_models(folder / "files", models, say)
    if engines:
        _export_engines(folder, python, say)
    write_contents(folder, models, made, has_engines=engines)
    contents = read_contents(folder)
    if problems := find_damage(folder, contents):
        raise StopError(f"{folder} is not whole: {'; '.join(problems)}.", "prepare it again.")
    total, largest = sum(size for size, _ in contents.files.values()), max(contents.files.values())
    say(f"{folder}: {total / 1e6:.1f} MB in {len(contents.files)} files, {largest[0] / 1e6:.1f} MB")


def _pip(command: str) -> tuple[str, ...]:
    return ("-m", "pip", command, "--quiet", "--disable-pip-version-check")


def _call(*command: object) -> str:
    """Return what a command prints.

    Raises:
        StopError: it failed.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        raise StopError(message, "see what it says; vit-export and pip have to work here.")
    return done.stdout


def _copy_pure(package: str, target: Path) -> None:
    """Copy an installed package of Python files alone, with its licence, into a folder."""
    for file in distribution(package).files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target / file)


def _export_models(files: Path, models: Sequence[Model], say: SAY) -> dict[str, str]:
    """Export every model here, proven as ever; return the SHA-256 of each that does not travel."""
    from vit_export.backends.torchscript.archive import read_manifest_json

    files.mkdir()
    made = {}
    with tempfile.TemporaryDirectory() as name:
        for model in models:
            say(f"{model.name}: export and proof")
            path = (files if model.travels else Path(name)) / model.file
            options = ("--preprocess", "graph") if model.preprocesses else ()
            _export("torchscript", model.preset, path, *options)
            manifest = read_manifest_json(path)
            (files / model.manifest).write_text(str(manifest), encoding="utf-8")
            if not model.travels:
                made[model.name] = measure(path)[1]
                path.unlink()
    return made


def _export(target: str, preset: str, path: Path, *options: object) -> None:
    words = ("-m", "vit_export", target, "--model", preset, "--out", path, *options, "--quiet")
    _call(sys.executable, *words)


def _export_engines(folder: Path, python: str, say: SAY) -> None:
    """Build engines without a GPU, and pack TensorRT for RTX, which opens and builds them there."""
    (folder / "engines").mkdir()
    batch = ("--batch", "1:8:16", "--engine", "rtx")
    for precision, options in ENGINES.items():
        say(f"engine in {precision}, built without a GPU")
        images = (IMAGES,) if "--calibration" in options else ()
        path = folder / "engines" / f"{precision}.engine"
        _export("trt", "fashion_mnist", path, *options, *images, *batch)
    for precision, options in GRAPHS.items():
        path = folder / "engines" / f"{precision}.onnx"
        _export("onnx", "fashion_mnist", path, *options, "--for", "tensorrt", "--batch", "1:8:16")
    with tempfile.TemporaryDirectory() as name:
        platforms = [f"--platform=manylinux_{glibc}_x86_64" for glibc in GLIBC]
        for package in RTX_PACKAGES:
            say(f"{package}, in parts")
            words = ("--no-deps", "--only-binary=:all:", f"--python-version={python}", *platforms)
            _call(
                sys.executable,
                *_pip("download"),
                *words,
                "-d",
                name,
                f"{package}=={version(package)}",
            )
        for wheel in sorted(Path(name).glob("*.whl")):
            split(wheel, folder / "engines")
    _copy_pure("tensorrt-rtx-cu13", folder / "pure-rtx")
