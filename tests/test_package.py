"""The wheel, installed elsewhere, is whole; and a device needs neither torch nor the rest of us."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from support import FASHION, ROOT, need, run

OLD_ONNXRUNTIME = "1.20.1"
DEVICE_PACKAGES = ["click", "numpy", "pillow", f"onnxruntime=={OLD_ONNXRUNTIME}"]


def call(*command, **options):
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (built,) = folder.glob("vit_export-*.whl")
    return built


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
    image = FASHION / "images" / "bag_1.png"
    assert "Bag" in in_folder(installed, "-c", script, tmp_path / "f.onnx", image)


def test_the_wheel_holds_nothing_else(wheel):
    names = call(sys.executable, "-m", "zipfile", "-l", wheel)
    assert "\ntests/" not in names
    assert "vit_export/codegen/templates/onnx/session.hpp" in names
    assert "vit_export/codegen/templates/common/third_party/LICENSE.stb" in names
    assert "vit_export/py.typed" in names
    assert wheel.stat().st_size < 5_000_000


@pytest.fixture(scope="module")
def device(tmp_path_factory, wheel) -> Path:
    """An environment as on a device: an old ONNX Runtime, no torch, no onnx; its vit-export."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    done = subprocess.run([*map(str, pip), *DEVICE_PACKAGES], capture_output=True, check=False)
    need("old-onnxruntime", present=done.returncode == 0, fix=f"pip needs {DEVICE_PACKAGES}")
    call(*pip, "--no-deps", wheel)
    return folder / "bin" / "vit-export"


@pytest.mark.slow
def test_the_default_file_opens_in_an_old_onnxruntime_without_torch(device, tmp_path):
    """Opened, proven again and measured against the same answers: on a device of years ago."""
    out = tmp_path / "vit.onnx"
    run("onnx", "--out", out, "-q")
    done = run("validate", out, "--json", "-q", command=str(device))
    told = json.loads(done.stdout)
    assert told["status"] == "PROVEN"
    assert OLD_ONNXRUNTIME in told["runtime"]
    assert told["batches"] == [1, 2, 3, 16]


@pytest.mark.slow
def test_a_device_classifies(device, fashion):
    arguments = ("predict", fashion.path["onnx"], FASHION / "images" / "bag_1.png", "--json")
    here = json.loads(run(*arguments).stdout)
    there = json.loads(run(*arguments, command=str(device)).stdout)
    assert there[0]["classes"] == here[0]["classes"]
    assert there[0]["probabilities"] == pytest.approx(here[0]["probabilities"], abs=1e-5)


@pytest.mark.slow
def test_a_device_says_what_it_lacks(device, fashion):
    done = run("validate", fashion.path["torchscript"], command=str(device), exit_code=3)
    assert "Fix: pip install torch" in done.stderr
    done = run("onnx", "--out", fashion.path["onnx"], command=str(device), exit_code=3)
    assert "Fix: pip install" in done.stderr
    told = json.loads(run("doctor", "--json", command=str(device)).stdout)
    assert not any(one["works"] for one in told)
