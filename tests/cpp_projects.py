"""C++ projects for the tests: how they are generated and built, and where the runtimes are."""

import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import need, run

HEADERS = "@siteed/sherpa-onnx.rn@1.3.1"
"""ONNX Runtime's official headers, API version 22, which newer libraries serve."""
IN_PACKAGE = "package/prebuilt/include/onnxruntime/"
NO_LEAKS = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
"""The environment in which the sanitizer ignores what the runtime leaks when it ends."""
GRAPH = ("--preprocess", "graph")
TRAINED = ("--model", "fashion_mnist")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
DEBUG = "-DCMAKE_BUILD_TYPE=Debug"
"""Compiles in half the time."""
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"


def call(*command, exit_code=0, **options):
    """Run a command that has to end with `exit_code`, and return its output.

    None stands for any failure that is not a crash.
    """
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        errors="replace",  # g++ quotes sources byte by byte
        check=False,
        **options,
    )
    output = done.stdout + done.stderr
    if exit_code is None:
        assert 0 < done.returncode < 128, output
    else:
        assert done.returncode == exit_code, output[-5000:]
    return output


@pytest.fixture(scope="session")
def onnxruntime_root(shared_folder) -> Path:
    """A folder like a release of ONNX Runtime, with its headers and the library of the wheel."""
    tools = all(shutil.which(tool) for tool in ("cmake", "g++", "npm"))
    need("cpp", present=tools, fix="apt-get install cmake g++ npm, or scripts/test --apt")
    return shared_folder("onnxruntime", fill_onnxruntime_root)


def fill_onnxruntime_root(root: Path) -> None:
    command = ["npm", "pack", "--silent", HEADERS]
    packed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    need("cpp", present=packed.returncode == 0, fix=f"npm pack {HEADERS}: {packed.stderr[-500:]}")
    (package,) = root.glob("*.tgz")
    call("tar", "-xzf", package, "-C", root, IN_PACKAGE)
    (root / IN_PACKAGE).rename(root / "include")
    spec = find_spec("onnxruntime")
    (library,) = (Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*")
    (root / "lib").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (root / "lib" / name).symlink_to(library)


@pytest.fixture(scope="session")
def runtimes(onnxruntime_root) -> dict[str, str]:
    """The CMake flag that says where the runtime of a target is."""
    import torch

    return {
        "onnx": f"-DONNXRUNTIME_ROOT={onnxruntime_root}",
        "torchscript": f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
    }


def generate(folder: Path, target: str, *export: object) -> Path:
    """Export a model with the arguments `export`, and generate its project."""
    folder.mkdir(exist_ok=True)
    artifact, app = folder / f"model.{target}", folder / "app"
    run(target, *export, "--out", artifact, "-q")
    run("cpp", artifact, "--out", app, "-q")
    return app


def describe_small_model(folder, resize=37, *, preprocessing=True, mode="RGB", classes=5, **steps):
    """Write the description of a small model; `steps` override its preprocessing."""
    vit = {"image_size": [32, 24], "patch_size": 8, "width": 24, "depth": 1, "heads": 3}
    steps = {"resize": resize, "crop": [32, 24], "interpolation": "bicubic", "mode": mode, **steps}
    steps |= {"mean": [*MEAN[: len(mode)]], "std": [*STD[: len(mode)]]}
    tables = {"vit": vit | {"channels": len(mode), "classes": classes}}
    tables |= {"preprocessing": steps} if preprocessing else {}
    lines = [
        line
        for name, table in tables.items()
        for line in (f"[{name}]", *(f"{key} = {json.dumps(one)}" for key, one in table.items()))
    ]
    toml = folder / "small.toml"
    toml.write_text("\n".join(lines) + "\n")
    return toml


@pytest.fixture(scope="session")
def in_graph(shared_folder):
    """A project of the trained model whose file resizes; a test that changes it takes a copy."""
    words = ("onnx", *TRAINED, *GRAPH, "--head", "top5")
    return shared_folder("cpp-graph", lambda folder: generate(folder, *words)) / "app"


@pytest.fixture(scope="session")
def in_cpp(shared_folder):
    """A project of the trained model that resizes in C++."""
    return shared_folder("cpp-cpp", lambda folder: generate(folder, "onnx", *TRAINED)) / "app"


@pytest.fixture(scope="session")
def in_colour(shared_folder):
    """The project with the most code: a model of colour images that resizes in C++ by bicubic."""

    def fill(folder):
        generate(folder, "onnx", "--model", describe_small_model(folder))

    return shared_folder("cpp-colour", fill) / "app"


def build(app: Path, *flags: str) -> str:
    """Configure and compile a project, and return the output."""
    configured = call("cmake", "-S", app, "-B", app / "build", *flags)
    return configured + call("cmake", "--build", app / "build", "--parallel", "2")


@pytest.fixture(scope="session")
def graph_build(shared_folder, in_graph, runtimes):
    """The project whose file resizes, built; a test that changes it takes a copy."""

    def fill(folder):
        build(shutil.copytree(in_graph, folder / "app"), runtimes["onnx"])

    return shared_folder("cpp-graph-build", fill) / "app"


def ctest(app: Path, exit_code: int | None = 0) -> str:
    """Run the tests of a project, and return their output."""
    command = ("ctest", "--test-dir", app / "build", "--output-on-failure", "--verbose")
    return call(*command, exit_code=exit_code, env=NO_LEAKS)


def compile_program(
    source: Path,
    app: Path,
    root: Path,
    *flags: str,
    out: Path | None = None,
    decoder: str = "libraries",
) -> Path:
    """Compile a program of the tests against the headers of a project, into its folder or `out`."""
    out = out or app / source.stem
    command = ["g++", "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", *flags]
    command += ["-I", app, "-isystem", root / "include", source]
    command += [app / "images" / "load.cpp", app / "images" / f"{decoder}.cpp"]
    command += ["-L", root / "lib", "-lonnxruntime"]
    command += ["-lpng", "-ljpeg", "-lz"] if decoder == "libraries" else []
    call(*command, f"-Wl,-rpath,{root / 'lib'}", "-o", out)
    return out
