"""The whole contract of engines on a GPU. One command for whoever has one:

    VIT_EXPORT_REQUIRE=tensorrt,rtx,torch scripts/test -m gpu

with `pip install tensorrt tensorrt-rtx torch-tensorrt` in .venv before (those of the three that are
to be tested). Nothing here runs where there is no GPU, CI included.
"""

import json
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec

import numpy as np
import pytest
import test_trt
from support import expect_error, need, run, run_json

import vit_export
from vit_export.backends.open import open_artifact
from vit_export.backends.tensorrt.cuda import find_gpu
from vit_export.backends.tensorrt.sidecar import read_sidecar, sidecar_path
from vit_export.backends.tensorrt.variants import VARIANTS

pytestmark = pytest.mark.gpu

LEAST_DB = {
    "fp32": 90,
    "fp16": 50,
    "bf16": 32,
    "int8-static": 20,
    "weights-int8": 20,
    "weights-int4": 15,
}
OPTIONS = test_trt.OPTIONS
BUILT_BY = [
    *((kind, name) for kind in ("tensorrt", "rtx") for name in OPTIONS),
    *(("torch", name) for name in ("fp32", "fp16")),
]


@pytest.fixture(autouse=True)
def _gpu():
    if find_gpu() is None:
        pytest.skip("no GPU here")


def require_variant(name):
    """Skip the test, or fail it where the variant is required; return its name."""
    present = find_spec(VARIANTS[name].module) is not None
    need(name, present=present, fix=f"pip install {VARIANTS[name].package}")
    return name


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """`engines(kind, precision)`: the path of an engine, built once, and its export's report."""
    folder, built = tmp_path_factory.mktemp("engines"), {}

    def build(kind, precision):
        if (kind, precision) not in built:
            out = folder / f"{require_variant(kind)}-{precision}.engine"
            batches = ("--batch", "1:1:4") if kind == "torch" else TWO_PROFILES
            arguments = (
                "--model",
                "fashion_mnist",
                *OPTIONS[precision],
                "--engine",
                kind,
                *batches,
            )
            built[kind, precision] = out, run_json("trt", *arguments, "--out", out, "-q")
        return built[kind, precision]

    return build


TWO_PROFILES = ("--batch", "1:1:4", "--batch", "6:8:16")


@pytest.mark.parametrize(("kind", "precision"), BUILT_BY)
def test_an_engine_is_proven_at_the_corners_of_its_profiles(engines, kind, precision):
    out, report = engines(kind, precision)
    verdict = report["verdict"]
    assert verdict["status"] == "PROVEN"
    corners = {1, 4} if kind == "torch" else {1, 4, 6, 8, 16}
    assert corners <= set(verdict["batches"])
    assert min(float(one["snr_db"]) for one in verdict["against_eager"]) > LEAST_DB[precision]
    assert json.loads(sidecar_path(out).read_text())["engine_run"] is True


@pytest.mark.parametrize(("kind", "precision"), BUILT_BY)
def test_the_verdict_can_be_had_again(engines, kind, precision):
    out, _ = engines(kind, precision)
    assert run_json("validate", out, "-q")["status"] == "PROVEN"
    report = run_json("predict", out, test_trt.CALIBRATION / "bag_1.png", "--top", "1")
    assert report[0]["classes"] == ["Bag"]


@pytest.mark.parametrize("kind", ["tensorrt", "rtx"])
@pytest.mark.parametrize("precision", ["fp16", "int8-static"])
def test_the_inspector_finds_the_requested_precision(engines, kind, precision):
    out, _ = engines(kind, precision)
    matmuls = open_artifact(out).matmuls_by_dtype()
    assert read_sidecar(out).engine["engine_precisions"] == matmuls
    if matmuls:  # those of a fused region are not listed one by one
        assert precision.removesuffix("-static") in matmuls


@pytest.mark.parametrize("kind", ["tensorrt", "rtx", "torch"])
def test_fp16_is_faster_than_fp32_in_a_bench(tmp_path, kind):
    """The model is large enough for its matrix products to take most of the time."""
    files = [tmp_path / f"{name}.engine" for name in ("fp32", "fp16")]
    for file in files:
        arguments = (
            "--engine",
            require_variant(kind),
            "--precision",
            file.stem,
            "--batch",
            "1:8:8",
        )
        run("trt", "--model", "vit_base_patch16_224", *arguments, "--out", file, "-q")
    report = run_json("bench", *files, "--batch", "8", "-q")
    assert all(row["arithmetic"] == "gpu" for row in report["rows"])
    assert all(row["limit_share"] is None for row in report["rows"])
    in_fp32, in_fp16 = (row["p50_ms"] for row in report["rows"])
    assert 0 < in_fp16 < in_fp32


@pytest.mark.parametrize("kind", ["tensorrt", "rtx"])
def test_a_batch_outside_of_every_profile(engines, kind):
    out, _ = engines(kind, "fp16")
    with pytest.raises(vit_export.VitExportError, match="no profile takes batch 5"):
        open_artifact(out).run(np.zeros((5, 1, 28, 28), np.float32))
    assert "takes batch" in expect_error("bench", out, "--batch", "5", exit_code=2)


@pytest.mark.parametrize("kind", ["tensorrt", "rtx"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1.2.3.4"}, "1.2.3.4"),
        ({"capabilities": ["1.0"], "gpu": {"name": "x", "capability": "1.0"}}, "here is a"),
    ],
)
def test_another_version_and_another_gpu(engines, tmp_path, kind, change, message):
    copy = copy_engine(engines(kind, "fp16")[0], tmp_path)
    document = json.loads(sidecar_path(copy).read_text())
    document["engine"] |= change
    sidecar_path(copy).write_text(json.dumps(document))
    assert message in expect_error("validate", copy, exit_code=3)


@pytest.mark.parametrize("kind", ["tensorrt", "rtx"])
def test_a_corrupted_engine(engines, tmp_path, kind):
    """Where the manifest agrees with the damaged file, TensorRT itself has to refuse it."""
    copy = copy_engine(engines(kind, "fp16")[0], tmp_path)
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])
    assert "is cut off" in expect_error("validate", copy, exit_code=2)
    document = json.loads(sidecar_path(copy).read_text())
    document["engine"] |= {
        "size_bytes": copy.stat().st_size,
        "sha256": sha256(copy.read_bytes()).hexdigest(),
    }
    sidecar_path(copy).write_text(json.dumps(document))
    assert "can't be opened" in expect_error("validate", copy, exit_code=2)


def copy_engine(engine, folder):
    for path in (engine, sidecar_path(engine)):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / engine.name


@pytest.mark.parametrize("kind", ["tensorrt", "rtx"])
def test_weights_from_the_graph_beside_it(tmp_path, kind):
    out = tmp_path / "f.engine"
    arguments = ("--engine", require_variant(kind), "--fp16", "--strip-weights", "--save-onnx")
    report = run_json("trt", "--model", "fashion_mnist", *arguments, "--out", out, "-q")
    assert report["verdict"]["status"] == "PROVEN"
    assert run_json("validate", out, "-q")["status"] == "PROVEN"
    (tmp_path / "f.engine.onnx").unlink()
    assert "is not beside it" in expect_error("validate", out, exit_code=2)


def test_options_of_tensorrt(tmp_path):
    require_variant("tensorrt")
    cache = tmp_path / "timing.cache"
    options = ("--level", "1", "--workspace", "512", "--timing-cache", cache)
    options += ("--hardware", "ampere-plus", "--version-compatible", "--refit", "--require-run")
    arguments = ("--model", "fashion_mnist", "--engine", "tensorrt", *options)
    for _ in range(2):  # the second time with the timings of the first
        report = run_json("trt", *arguments, "--out", tmp_path / "f.engine", "-q")
        assert report["verdict"]["status"] == "PROVEN"
        assert cache.stat().st_size > 0


def test_an_engine_that_was_built_without_a_gpu_is_proven_here(tmp_path):
    """The driver is hidden from the process that builds, as on another machine."""
    require_variant("rtx")
    out = tmp_path / "f.engine"
    script = (
        "import sys, vit_export.backends.tensorrt.cuda as cuda; cuda.LIBRARIES = ()\n"
        "from vit_export.cli import main; sys.argv = sys.argv[1:]; main()"
    )
    arguments = ("vit-export", "trt", "--model", "fashion_mnist", "--fp16", "--engine", "rtx")
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--out", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "BUILT, NOT RUN" in done.stdout
    assert "PROVEN" in run("validate", out).stdout
