"""The bench: contestants take turns, one at a time; its numbers add up; bad requests are told."""

import json
import logging
import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx as onnx_package
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from support import need, refused, run, run_json, tiny_spec

from vit_export import BuildError, MissingError, RequestError, VitSpec, bench, onnx
from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import KEY
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.bench import baselines as peers_module
from vit_export.bench import roofline as limit
from vit_export.bench.accuracy import calibration_of, exam_of
from vit_export.bench.baselines import INT8_PEERS, PEERS, check_peers, peers
from vit_export.bench.candidates import Contestant, arithmetic_of
from vit_export.bench.interleave import Worker
from vit_export.bench.openers import opened
from vit_export.bench.ort_quantizers import quantize_dynamic
from vit_export.bench.results import percentile, ratio
from vit_export.bench.roofline import contestants as products
from vit_export.bench.roofline import runtimes_of
from vit_export.bench.run import flops_of_spec
from vit_export.core.numerics import snr_db
from vit_export.model.vit.state import random_vit

NOISE = np.random.default_rng(3).standard_normal((4, 2, 3, 16, 24), np.float32)
"""Batches to calibrate on (M, B, C, H, W)."""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    spec = tiny_spec(depth=1)
    folder = tmp_path_factory.mktemp("bench")
    path = folder / "tiny.onnx"
    onnx((spec, random_vit(spec, 0).state_dict()), path)
    return path


@pytest.fixture(scope="module")
def int8_artifact(artifact):
    """The same model, quantized, with a manifest that says so."""
    path = artifact.with_name("tiny8.onnx")
    quantize_dynamic(artifact, path, NOISE)
    model, told = onnx_package.load(path), onnx_package.load(artifact).metadata_props
    manifest = next(json.loads(one.value) for one in told if one.key == KEY)
    entries = {KEY: json.dumps(manifest | {"precision": "int8"})}
    onnx_package.helper.set_model_props(model, entries)
    onnx_package.save(model, path)
    return path


def test_a_run_beside_two_peers(artifact, tmp_path):
    plot = tmp_path / "plot.png"
    request = ["--against", "eager,onnxruntime-plain", "--batch", "1,3", "--rounds", "5"]
    told = run_json("bench", artifact, *request, "--plot", plot, "-q")
    names = [(row["name"], row["batch"]) for row in told["rows"]]
    contestants = ("tiny.onnx", "eager", "onnxruntime-plain")
    assert names == [(name, batch) for batch in (1, 3) for name in contestants]
    for row in told["rows"]:
        assert 0 < row["min_ms"] <= row["p50_ms"] <= row["p90_ms"]
        assert row["images_per_s"] == pytest.approx(1000 * row["batch"] / row["p50_ms"])
        against = row["against_first"]
        assert against["low"] <= against["median"] <= against["high"]
        assert len(row["rounds_ms"]) == 5
        assert 0 < row["limit_share"] <= 1.02
        assert row["load_ms"] > 0
    ours, eager, plain = told["rows"][:3]
    assert ours["against_first"] == {"median": 1, "low": 1, "high": 1}
    assert ours["size_bytes"] == artifact.stat().st_size
    assert ours["worst_snr_db"] > 90
    assert eager["worst_snr_db"] is None  # nothing tells where the artifact's weights are
    assert "torch" in eager["version"]
    assert "ONNX Runtime" in plain["version"]
    # the process that serves an ONNX file holds no torch
    assert ours["peak_bytes"] < eager["peak_bytes"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_table(artifact):
    text = run("bench", artifact, "--rounds", "5", "-q").stdout
    assert "this machine's limit" in text
    assert "tiny.onnx" in text


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["--against", "eagle"], "Did you mean 'eager'?", 2),
        (["--batch", "0"], "give numbers: --batch 1,8", 2),
        (["--batch", "1,x"], "give numbers", 2),
        (["--rounds", "2"], "take 5 or more", 2),
        (["missing.onnx"], "no such artifact", 2),
        (["--plot", "none/p.png"], "The folder none does not exist", 2),
        (["--plot", "p.picture"], "name a .png, .svg or .pdf", 2),
    ],
)
def test_requests_that_make_no_sense(artifact, arguments, message, exit_code):
    assert message in refused("bench", artifact, *arguments, exit_code=exit_code)


def test_a_batch_that_a_file_does_not_take(tmp_path):
    spec = tiny_spec(depth=1)
    onnx((spec, random_vit(spec, 0).state_dict()), tmp_path / "f.onnx", batch="2")
    told = refused("bench", tmp_path / "f.onnx", "--batch", "2,4", exit_code=2)
    assert "takes batch 2, not 4" in told


@pytest.mark.parametrize(("size", "taken"), [(1, False), (2, True), (4, True), (5, False)])
def test_what_a_profile_takes(size, taken):
    assert Batch.parse("2:3:4").takes(size) is taken
    assert Batch.parse("dynamic").takes(size)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stopped(pid):
    """Whether the process comes to stand still; a signal takes its time."""
    return any(state_of(pid) == "T" or time.sleep(0.01) for _ in range(500))


def test_who_is_not_in_turn_stands_still(artifact):
    contestant = Contestant(name="tiny", kind="artifact", path=str(artifact))
    with Worker(contestant) as worker:
        pid = worker._process.pid  # noqa: SLF001 what the system says of it
        assert stopped(pid)
        assert len(worker.burst((2, 3, 16, 24), 4)) == 4
        assert stopped(pid)
        assert worker.peak_bytes > 1e7
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_contestant_that_dies_is_told(artifact):
    with Worker(Contestant(name="tiny", kind="artifact", path=str(artifact))) as worker:
        worker._process.send_signal(signal.SIGKILL)  # noqa: SLF001 as a lack of memory would
        with pytest.raises(BuildError, match="tiny can't take part"):
            worker.burst((1, 3, 16, 24), 1)


def test_a_contestant_that_can_not_be_opened_is_told(tmp_path):
    path = tmp_path / "f.onnx"
    path.write_bytes(b"\x08text")
    with pytest.raises(BuildError, match="can't take part"):
        Worker(Contestant(name="broken", kind="artifact", path=str(path)))


def answers_of(name, vit, folder):
    """What the peer of this name answers for two images, and what eager PyTorch does."""
    save_file(vit.state_dict(), folder / "w.safetensors")
    weights = str(folder / "w.safetensors")
    (contestant,) = peers([name], vit.spec, weights, batches=NOISE, folder=folder, threads=1)
    run, version = opened(contestant)
    assert version
    images = np.random.default_rng(1).standard_normal((2, 3, 16, 24), np.float32)
    with torch.no_grad():
        return run(images), vit(torch.from_numpy(images)).numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers' own code
@pytest.mark.parametrize("name", sorted(set(PEERS) - set(INT8_PEERS)))
def test_every_peer_answers(tmp_path, name):
    """With the answers of the eager model of the same weights: the peers run what they should."""
    answers, expected = answers_of(name, random_vit(tiny_spec(depth=1), 7), tmp_path)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["ort-dynamic", "ort-static", pytest.param("torchao", marks=pytest.mark.slow)]
)
def test_every_int8_peer_answers(tmp_path, capfd, name):
    """Near the eager model, and not as it does: what is measured is quantized; and quietly."""
    need(name, present=name != "torchao" or find_spec(name), fix=f"pip install {name}")
    root = logging.getLogger()
    handlers = root.handlers[:]
    answers, expected = answers_of(name, random_vit(tiny_spec(), 7), tmp_path)
    worst = min(map(snr_db, expected, answers))
    assert 15 < worst < 80
    assert root.handlers == handlers
    if name != "torchao":  # its process has no one to hear it
        assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_file_in_int8_beside_peers_in_int8(artifact, int8_artifact):
    weights = artifact.with_name("w.safetensors")
    save_file(random_vit(tiny_spec(depth=1), 0).state_dict(), weights)
    request = ["--against", "eager,ort-dynamic,ort-static", "--rounds", "5", "--weights", weights]
    told = run_json("bench", artifact, int8_artifact, *request, "-q")
    arithmetics = [row["arithmetic"] for row in told["rows"]]
    assert arithmetics == ["fp32", "int8", "fp32", "int8", "int8"]
    rates = told["gflops_per_s"]["1"]
    assert 0 < rates["fp32"] <= rates["int8"]
    for row in told["rows"]:
        least_ms = told["flops"] / rates[row["arithmetic"]] / 1e6
        assert row["limit_share"] == pytest.approx(least_ms / row["min_ms"])
        assert row["limit_share"] <= 1.02
        assert (15 if row["arithmetic"] == "int8" else 90) < row["worst_snr_db"]
    assert told["rows"][3]["size_bytes"] > 0


def test_the_table_and_the_picture_tell_both_limits(artifact, int8_artifact, tmp_path):
    plot = tmp_path / "plot.svg"
    text = run("bench", artifact, int8_artifact, "--rounds", "5", "-q", "--plot", plot).stdout
    assert "ms in fp32 at" in text
    assert "ms in int8 at" in text
    assert "limit of the machine, int8" in plot.read_text()


@pytest.mark.parametrize(("slow", "fast"), [("fp32", "int8"), ("int8", "fp32")])
def test_a_row_faster_than_its_own_limit_is_refused(
    artifact, int8_artifact, monkeypatch, slow, fast
):
    """As if the machine did products of one arithmetic hardly at all: the other's row passes."""
    monkeypatch.setattr(limit, "rates", lambda *_: {slow: 1e-9, fast: 1e9})
    with pytest.raises(BuildError, match=rf"ran at .* limit in {slow}") as told:
        bench([artifact, int8_artifact], rounds=5)
    assert told.value.message.startswith("tiny8.onnx" if slow == "int8" else "tiny.onnx")


@pytest.mark.parametrize(
    ("precision", "arithmetic"),
    [
        *[("fp32", "fp32"), ("fp16", "fp32"), ("int8", "int8"), ("int8-static", "int8")],
        *[("weights-int8", "int8"), ("weights-int4", "int8")],
    ],
)
def test_the_arithmetic_of_precisions(precision, arithmetic):
    assert arithmetic_of(precision) == arithmetic


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(peers_module, "versions_of", lambda _: {})
    with pytest.raises(MissingError, match="torchao needs torchao") as told:
        check_peers(["torchao"])
    assert told.value.fix == "pip install torchao"


def test_peers_calibrate_on_the_samples_of_the_manifest(artifact):
    manifest = read_manifest(open_artifact(artifact), artifact)
    exam = exam_of(manifest)
    assert calibration_of(exam, manifest) is exam.samples
    nothing = type(exam)(exam.samples[:0], exam.answers[:0])
    assert calibration_of(nothing, manifest).shape == (8, 1, 3, 16, 24)


@pytest.mark.slow
def test_peers_have_the_weights_of_the_artifact(fashion):
    """Those that ship are found; each peer's answers are held against eager's in the manifest."""
    path = fashion.path["onnx"]
    against = "eager,onnxruntime-plain-sim,onnxruntime-script,openvino"
    told = run_json("bench", path, "--against", against, "--rounds", "5", "-q")
    assert [float(row["worst_snr_db"]) > 90 for row in told["rows"]] == [True] * 5
    assert told["rows"][2]["size_bytes"] > 3e6


def test_weights_of_another_model_are_refused(fashion, tmp_path):
    weights = tmp_path / "other.safetensors"
    manifest = read_manifest(open_artifact(fashion.path["onnx"]), fashion.path["onnx"])
    save_file(random_vit(manifest.spec, 1).state_dict(), weights)
    request = ["--against", "eager", "--weights", weights]
    told = refused("bench", fashion.path["onnx"], *request, exit_code=2)
    assert "does not hold the weights of the artifact" in told


def test_products_are_those_of_a_block(tmp_path):
    spec = VitSpec()
    made = products(spec, 2, tmp_path, None, [("fp32", "onnxruntime")])
    assert [one.shape for one in made] == [(394, 768), (394, 768), (394, 768), (394, 3088)]
    per_image = 12 * sum(one.gflop for one in made) / 4 / 2
    assert 0.95 < per_image * 1e9 / flops_of_spec(VitSpec(pool="mean")) < 1
    session = onnxruntime.InferenceSession(made[0].contestant.path)
    assert [output.shape for output in session.get_outputs()] == [[394, 2304]] * 4


def taking_part(*kinds, arithmetic="fp32"):
    return [Contestant(name=kind, kind=kind, arithmetic=arithmetic) for kind in kinds]


def test_products_are_measured_in_every_runtime_that_takes_part():
    ours = ("fp32", "onnxruntime")
    assert runtimes_of(taking_part("artifact", "onnxruntime")) == [ours]
    everywhere = runtimes_of(taking_part("artifact", "eager", "openvino"))
    assert everywhere == [ours, ("fp32", "torch-products"), ("fp32", "openvino")]
    int8 = [ours, ("int8", "int8-products")]
    assert runtimes_of(taking_part("artifact", arithmetic="int8")) == int8
    torchao = taking_part("torchao", arithmetic="int8")
    assert runtimes_of(torchao) == [*int8, ("int8", "torch-int8-products")]


@pytest.mark.parametrize(
    ("arithmetic", "kinds"),
    [
        ("fp32", ["onnxruntime", "torch-products", "openvino"]),
        ("int8", ["int8-products", "torch-int8-products"]),
    ],
)
def test_products_are_the_same_in_every_runtime(tmp_path, arithmetic, kinds):
    made = products(tiny_spec(), 1, tmp_path, 1, [(arithmetic, kind) for kind in kinds])
    images = np.random.default_rng(1).standard_normal(made[0].shape, np.float32)
    first, *others = [opened(one.contestant)[0](images) for one in made[: len(kinds)]]
    assert first.shape == (7, 72)
    for other in others:  # openers answer with one of the products
        assert other.shape == first.shape


def test_rates_of_products(tmp_path):
    """The best of each arithmetic; int8 has the products of fp32 to fall back on."""
    both = [("fp32", "onnxruntime"), ("int8", "int8-products")]
    made = products(tiny_spec(), 1, tmp_path, 1, both)
    gflops_per_s = (2, 5, 3, 4, 1, 1, 1, 1)
    times = [1000 * one.gflop / rate for one, rate in zip(made, gflops_per_s, strict=True)]
    assert limit.rates(made, times) == pytest.approx({"fp32": 3, "int8": 5})
    times[1] = times[3] = 1e9
    assert limit.rates(made, times) == pytest.approx({"fp32": 3, "int8": 3})


@pytest.mark.parametrize(
    ("times", "low", "high"),
    [
        ([1, 2, 3, 4, 5], 1, 5),
        ([1, 2, 3, 4, 5, 6, 7], 1, 7),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], 2, 8),
        (list(range(1, 21)), 6, 15),
    ],
)
def test_the_interval_of_a_median(times, low, high):
    """Bounds from the tables of the sign test: for 9 values the 2nd and 8th, for 20 the 6th."""
    found = ratio(times, [1] * len(times))
    assert (found.low, found.high) == (low, high)


def test_percentiles():
    assert percentile([3, 1, 2], 50) == 2
    assert percentile(range(1, 11), 90) == 9
    assert percentile([5], 90) == 5


def test_files_for_images_of_different_sizes(artifact, tmp_path):
    spec = tiny_spec(depth=1, image_size=(16, 16))
    onnx((spec, random_vit(spec, 0).state_dict()), tmp_path / "f.onnx")
    with pytest.raises(RequestError, match="different sizes"):
        bench([artifact, tmp_path / "f.onnx"])
