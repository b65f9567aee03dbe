"""Generated C++ projects, built as their users build them: where the runtimes are, and by what."""

import os
import shutil
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import need, run

HEADERS = "@siteed/sherpa-onnx.rn@1.3.1"
"""ONNX Runtime's official headers, API version 22, which newer libraries serve."""
IN_PACKAGE = "package/prebuilt/include/onnxruntime/"
NO_LEAKS = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
"""Of the runtime, at its end."""
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"


def call(*command, exit_code=0, **options):
    """What a command prints, which has to end with `exit_code`; None: with a failure of its own."""
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        errors="replace",  # g++ quotes sources as they are
        check=False,
        **options,
    )
    told = done.stdout + done.stderr
    if exit_code is None:
        assert 0 < done.returncode < 128, told
    else:
        assert done.returncode == exit_code, told[-5000:]
    return told


@pytest.fixture(scope="session")
def onnxruntime_root(tmp_path_factory) -> Path:
    """A folder like a release of ONNX Runtime: its headers, and the library out of the wheel."""
    tools = all(shutil.which(tool) for tool in ("cmake", "g++", "npm"))
    need("cpp", present=tools, fix="apt-get install cmake g++ npm, or scripts/test --apt")
    root = tmp_path_factory.mktemp("onnxruntime")
    command = ["npm", "pack", "--silent", HEADERS]
    packed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    need("cpp", present=packed.returncode == 0, fix=f"npm pack {HEADERS}: {packed.stderr[-500:]}")
    (package,) = root.glob("*.tgz")
    with tarfile.open(package) as archive:
        inside = [one for one in archive.getmembers() if one.name.startswith(IN_PACKAGE)]
        archive.extractall(root, inside, filter="data")
    (root / IN_PACKAGE).rename(root / "include")
    spec = find_spec("onnxruntime")
    (library,) = (Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*")
    (root / "lib").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (root / "lib" / name).symlink_to(library)
    return root


@pytest.fixture(scope="session")
def runtimes(onnxruntime_root) -> dict[str, str]:
    """What CMake is told of the runtime of a target."""
    import torch

    return {
        "onnx": f"-DONNXRUNTIME_ROOT={onnxruntime_root}",
        "torchscript": f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
    }


def generated(folder: Path, target: str, *export: object) -> Path:
    """A project for a model that is exported with `export`."""
    folder.mkdir(exist_ok=True)
    artifact, app = folder / f"model.{target}", folder / "app"
    run(target, *export, "--out", artifact, "-q")
    run("cpp", artifact, "--out", app, "-q")
    return app


def build(app: Path, *flags: str) -> str:
    """Configures and compiles a project; what was printed."""
    configured = call("cmake", "-S", app, "-B", app / "build", *flags)
    return configured + call("cmake", "--build", app / "build", "--parallel", "2")


def ctest(app: Path, exit_code: int | None = 0) -> str:
    """What the tests of a built project print."""
    command = ("ctest", "--test-dir", app / "build", "--output-on-failure", "--verbose")
    return call(*command, exit_code=exit_code, env=NO_LEAKS)


def compiled(source: Path, app: Path, root: Path, *flags: str) -> Path:
    """A program of our own around the headers of a project."""
    out = app / source.stem
    command = ["g++", "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", *flags]
    command += ["-I", app, "-isystem", root / "include", source]
    command += [app / "third_party" / "stb_image.cpp", "-L", root / "lib", "-lonnxruntime"]
    call(*command, f"-Wl,-rpath,{root / 'lib'}", "-o", out)
    return out
