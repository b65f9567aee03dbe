"""The wheel, installed elsewhere, is whole; a device needs neither torch nor rich."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from support import FASHION, ROOT, need, run

from vit_export.backends import BACKENDS

IMAGE = FASHION / "images" / "bag_1.png"
OWN = {**os.environ, "PYTHONPATH": ""}
"""Of an environment that sees its own packages only."""
pytestmark = pytest.mark.slow
OLD_ONNXRUNTIME = "1.20.1"
DEVICE_PACKAGES = ["click", "numpy", "pillow", f"onnxruntime=={OLD_ONNXRUNTIME}"]


def call(*command, **options):
    """The output of a command that has to succeed."""
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (path,) = folder.glob("vit_export-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "-t", folder, wheel)
    return folder


def in_folder(installed, *arguments):
    """`python ARGUMENTS` that sees the installed copy, far from the sources."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return call(sys.executable, *arguments, cwd=installed.parent, env=environment)


def test_an_installed_wheel_finds_its_models(installed):
    script = (
        "import json, vit_export;"
        "from vit_export.model.vit.presets import load_preset, list_presets;"
        "f = load_preset('fashion_mnist');"
        "print(json.dumps([vit_export.__file__, list_presets(), str(f.weights), f.labels]))"
    )
    where, names, weights, labels = json.loads(in_folder(installed, "-c", script))
    assert where.startswith(str(installed))
    assert weights.startswith(str(installed))
    assert set(names) == {path.stem for path in (ROOT / "models").rglob("*.toml")}
    assert len(labels) == 10
    assert len(list(Path(weights).parent.glob("images/*.png"))) == 20


def test_an_installed_wheel_exports(installed, tmp_path):
    script = (
        "import sys, vit_export\n"
        "built = vit_export.onnx('fashion_mnist', sys.argv[1])\n"
        "print(vit_export.predict(built.path, sys.argv[2:], top=1)[0].classes)"
    )
    assert "Bag" in in_folder(installed, "-c", script, tmp_path / "f.onnx", IMAGE)


def test_the_wheel_holds_nothing_else(wheel):
    names = call(sys.executable, "-m", "zipfile", "-l", wheel)
    assert "\ntests/" not in names
    assert "vit_export/codegen/templates/onnx/session.hpp" in names
    assert "vit_export/codegen/templates/common/third_party/LICENSE.stb" in names
    assert "vit_export/py.typed" in names
    assert "vit_export/__init__.pyi" in names
    assert wheel.stat().st_size < 5_000_000


@pytest.fixture(scope="module")
def device(tmp_path_factory, wheel) -> Path:
    """The command in an environment as on a device: an old ONNX Runtime; no torch, onnx, rich."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    done = subprocess.run([*pip, *DEVICE_PACKAGES], capture_output=True, check=False, env=OWN)
    need("old-onnxruntime", present=done.returncode == 0, fix=f"pip needs {DEVICE_PACKAGES}")
    call(*pip, "--no-deps", wheel, env=OWN)
    return folder / "bin" / "vit-export"


def run_on(device, *arguments, **options):
    return run(*arguments, command=str(device), env={"PYTHONPATH": ""}, **options)


def test_the_default_file_opens_in_an_old_onnxruntime_without_torch(device, tmp_path):
    """Opened, proven again and measured against the same answers: on a device of years ago."""
    out = tmp_path / "vit.onnx"
    run("onnx", "--out", out, "-q")
    verdict = json.loads(run_on(device, "validate", out, "--json", "-q").stdout)
    assert verdict["status"] == "PROVEN"
    assert OLD_ONNXRUNTIME in verdict["runtime"]
    assert verdict["batches"] == [1, 2, 3, 16]


def test_a_device_classifies(device, fashion):
    arguments = ("predict", fashion.path["onnx"], IMAGE, "--json")
    (here,) = json.loads(run(*arguments).stdout)
    (there,) = json.loads(run_on(device, *arguments).stdout)
    assert there["classes"] == here["classes"]
    assert there["probabilities"] == pytest.approx(here["probabilities"], abs=1e-5)


@pytest.mark.parametrize("command", ["predict", "validate", "doctor", "inspect", "models"])
def test_a_device_prints_everything_without_rich(device, fashion, command):
    """The same rows and columns as where rich is installed."""
    files = {"predict": [fashion.path["onnx"], IMAGE], "doctor": [], "models": []}
    arguments = [command, *files.get(command, [fashion.path["onnx"]])]
    here, there = run(*arguments).stdout, run_on(device, *arguments).stdout
    assert header_of(there) == header_of(here)
    assert len(there.splitlines()) >= 3
    with pytest.raises(AssertionError, match="No module named 'rich'"):
        call(device.with_name("python"), "-c", "import rich", env=OWN)


def header_of(report):
    """The columns of the first table in a report."""
    lines = report.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("──")) - 1].split()


def test_a_device_says_what_it_lacks(device, fashion):
    done = run_on(device, "validate", fashion.path["torchscript"], exit_code=3)
    assert "Fix: pip install torch" in done.stderr
    done = run_on(device, "onnx", "--out", fashion.path["onnx"], exit_code=3)
    assert "Fix: pip install" in done.stderr
    rows = json.loads(run_on(device, "doctor", "--json").stdout)
    works = {row["target"]: row["works"] for row in rows}
    works.pop("emulation")  # emulators are no packages, and all environments share them
    assert works.keys() == set(BACKENDS)
    assert not any(works.values())
