"""The bench: bursts alternate one at a time, the numbers add up, bad requests are refused."""

import json
import logging
import os
import signal
import time
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx as onnx_package
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from support import expect_error, mark_slow_except, need, run, run_json, snr_db, tiny_spec

from vit_export import BuildError, MissingError, RequestError, VitSpec, bench, onnx
from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import KEY
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.bench import baselines, roofline
from vit_export.bench.baselines import BASELINES, INT8_BASELINES, build_baseline, check_baselines
from vit_export.bench.candidates import Candidate, infer_arithmetic
from vit_export.bench.eager import EagerRecipe
from vit_export.bench.interleave import Worker, time_interleaved
from vit_export.bench.launch import choose_calibration_batches, remake_samples
from vit_export.bench.ort_quantizers import quantize_dynamic
from vit_export.bench.results import compare_rounds, find_percentile
from vit_export.bench.roofline import choose_gemm_kinds, find_best_rates, write_gemm_candidates
from vit_export.bench.runners import open_candidate
from vit_export.core.cpu import identify_cpu
from vit_export.model.vit.flops import count_flops
from vit_export.model.vit.state import random_vit

NOISE = np.random.default_rng(3).standard_normal((4, 2, 3, 16, 24), np.float32)
"""Batches to calibrate on (M, B, C, H, W)."""


FP32_BASELINES = sorted(set(BASELINES) - set(INT8_BASELINES))


@pytest.fixture(autouse=True)
def _short_bursts(monkeypatch):
    """Nothing here depends on how exact the times are."""
    monkeypatch.setattr(time_interleaved, "__defaults__", (20,))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    spec = tiny_spec(depth=1)
    folder = tmp_path_factory.mktemp("bench")
    path = folder / "tiny.onnx"
    onnx((spec, random_vit(spec, 0).state_dict()), path)
    return path


@pytest.fixture(scope="module")
def int8_artifact(artifact):
    """The same model, quantized, with a manifest that says int8."""
    path = artifact.with_name("tiny8.onnx")
    quantize_dynamic(artifact, path, NOISE)
    model, entries = onnx_package.load(path), onnx_package.load(artifact).metadata_props
    manifest = next(json.loads(entry.value) for entry in entries if entry.key == KEY)
    metadata = {KEY: json.dumps(manifest | {"precision": "int8"})}
    onnx_package.helper.set_model_props(model, metadata)
    onnx_package.save(model, path)
    return path


def test_an_artifact_beside_a_baseline(artifact, tmp_path):
    plot = tmp_path / "plot.png"
    request = ["--against", "onnxruntime-plain", "--batch", "1,3", "--rounds", "5"]
    results = run_json("bench", artifact, *request, "--plot", plot, "-q")
    rows = [(row["name"], row["batch"]) for row in results["rows"]]
    names = ("tiny.onnx", "onnxruntime-plain")
    assert rows == [(name, batch) for batch in (1, 3) for name in names]
    for row in results["rows"]:
        assert 0 < row["min_ms"] <= row["p50_ms"] <= row["p90_ms"]
        assert row["images_per_s"] == pytest.approx(1000 * row["batch"] / row["p50_ms"])
        against = row["against_first"]
        assert against["low"] <= against["median"] <= against["high"]
        assert len(row["rounds_ms"]) == 5
        assert 0 < row["limit_share"] <= 1.02
        assert row["load_ms"] > 0
    ours, plain = results["rows"][:2]
    assert ours["against_first"] == {"median": 1, "low": 1, "high": 1}
    assert ours["size_bytes"] == artifact.stat().st_size
    assert ours["worst_snr_db"] > 90
    assert plain["worst_snr_db"] is None  # the weights of the artifact are nowhere to be found
    assert "ONNX Runtime" in plain["version"]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_process_that_serves_an_onnx_file_holds_no_torch(artifact):
    results = run_json("bench", artifact, "--against", "eager", "--rounds", "5", "-q")
    ours, eager = results["rows"]
    assert "torch" in eager["version"]
    assert ours["peak_bytes"] < eager["peak_bytes"]


def test_the_table(artifact):
    text = run("bench", artifact, "--rounds", "5", "-q").stdout
    assert "this machine's limit" in text
    assert "tiny.onnx" in text


@pytest.mark.parametrize(
    ("arguments", "words", "exit_code"),
    [
        (["--against", "eagle"], ["eagle", "Did you mean 'eager'?"], 2),
        (["--batch", "0"], ["'0'", "give numbers: --batch 1,8"], 2),
        (["--batch", "1,x"], ["'1,x'", "give numbers: --batch 1,8"], 2),
        (["--rounds", "2"], ["2 rounds", "take 5 or more"], 2),
        (["missing.onnx"], ["missing.onnx", "no such artifact"], 2),
        (["--plot", "none/p.png"], ["folder none", "not exist"], 2),
        (["--plot", "p.picture"], [".picture", "name a .png, .svg or .pdf"], 2),
    ],
)
def test_senseless_requests_are_refused(artifact, arguments, words, exit_code):
    message = expect_error("bench", artifact, *arguments, exit_code=exit_code)
    assert [word for word in words if word not in message] == []


def test_a_batch_that_a_file_does_not_take_is_refused(tmp_path, tiny_toml):
    onnx(tiny_toml, tmp_path / "f.onnx", batch="2")
    message = expect_error("bench", tmp_path / "f.onnx", "--batch", "2,4", exit_code=2)
    assert "takes batch 2, not 4" in message


@pytest.mark.parametrize(("size", "taken"), [(1, False), (2, True), (4, True), (5, False)])
def test_a_profile_takes_the_batches_within_its_range(size, taken):
    assert Batch.parse("2:3:4").takes(size) is taken
    assert Batch.parse("dynamic").takes(size)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_suspended(pid):
    """Wait for a process to be suspended, because a signal takes its time."""
    return any(state_of(pid) == "T" or time.sleep(0.01) for _ in range(500))


def test_a_process_is_suspended_between_bursts(artifact):
    candidate = Candidate(name="tiny", kind="artifact", path=str(artifact))
    with Worker(candidate) as worker:
        pid = worker._process.pid  # noqa: SLF001 to ask the system for its state
        assert is_suspended(pid)
        assert len(worker.time_burst((2, 3, 16, 24), 4)) == 4
        assert is_suspended(pid)
        assert worker.peak_bytes > 1e7
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_death_of_a_process_is_reported(artifact):
    with Worker(Candidate(name="tiny", kind="artifact", path=str(artifact))) as worker:
        worker._process.send_signal(signal.SIGKILL)  # noqa: SLF001 as a lack of memory would
        with pytest.raises(BuildError, match="tiny can't take part"):
            worker.time_burst((1, 3, 16, 24), 1)


def test_a_candidate_that_can_not_be_opened_is_reported(tmp_path):
    path = tmp_path / "f.onnx"
    path.write_bytes(b"\x08text")
    with pytest.raises(RequestError, match="broken can't take part"):
        Worker(Candidate(name="broken", kind="artifact", path=str(path)))


def answer_both(name, vit, folder):
    """Return the answers of a baseline and of eager PyTorch to the same two images."""
    save_file(vit.state_dict(), folder / "w.safetensors")
    eager = EagerRecipe(spec=asdict(vit.spec), weights=str(folder / "w.safetensors"))
    candidate = build_baseline(name, eager, batches=NOISE, folder=folder, threads=1)
    runner = open_candidate(candidate)
    assert runner.version
    images = np.random.default_rng(1).standard_normal((2, 3, 16, 24), np.float32)
    with torch.no_grad():
        return runner.run(images), vit(torch.from_numpy(images)).numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by the baselines' own code
@pytest.mark.parametrize("name", mark_slow_except(FP32_BASELINES, "eager"))
def test_every_baseline_answers_as_the_eager_model(tmp_path, name):
    answers, expected = answer_both(name, random_vit(tiny_spec(depth=1), 7), tmp_path)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", mark_slow_except(["ort-dynamic", "ort-static", "torchao"], "ort-dynamic")
)
def test_every_int8_baseline_is_quantized_and_quiet(tmp_path, capfd, name):
    """Its answers are near those of the eager model and not the same."""
    need(name, present=name != "torchao" or find_spec(name), fix=f"pip install {name}")
    root = logging.getLogger()
    handlers = root.handlers[:]
    answers, expected = answer_both(name, random_vit(tiny_spec(), 7), tmp_path)
    worst = min(map(snr_db, expected, answers))
    # torchao's sums of 8-bit products saturate on x86 without VNNI
    least = 15 if name != "torchao" or identify_cpu().has_vnni is not False else 5
    assert least < worst < 80
    assert root.handlers == handlers
    if name != "torchao":  # a bench opens torchao in a child process, whose output nobody reads
        assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_an_int8_file_beside_int8_baselines(artifact, int8_artifact):
    weights = artifact.with_name("w.safetensors")
    save_file(random_vit(tiny_spec(depth=1), 0).state_dict(), weights)
    request = ["--against", "eager,ort-dynamic,ort-static", "--rounds", "5", "--weights", weights]
    results = run_json("bench", artifact, int8_artifact, *request, "-q")
    arithmetics = [row["arithmetic"] for row in results["rows"]]
    assert arithmetics == ["fp32", "int8", "fp32", "int8", "int8"]
    rates = results["gflops_per_s"]["1"]
    assert 0 < rates["fp32"] <= rates["int8"]
    for row in results["rows"]:
        limit_ms = results["flops"] / rates[row["arithmetic"]] / 1e6
        assert row["limit_share"] == pytest.approx(limit_ms / row["min_ms"])
        assert row["limit_share"] <= 1.02
        # `inf`, in words, for a candidate whose answers are the very ones of the manifest
        assert (15 if row["arithmetic"] == "int8" else 90) < float(row["worst_snr_db"])
    assert results["rows"][3]["size_bytes"] > 0


def test_the_table_and_the_plot_show_both_rooflines(artifact, int8_artifact, tmp_path):
    plot = tmp_path / "plot.svg"
    text = run("bench", artifact, int8_artifact, "--rounds", "5", "-q", "--plot", plot).stdout
    assert "ms in fp32 at" in text
    assert "ms in int8 at" in text
    assert "limit of the machine, int8" in plot.read_text()


@pytest.mark.parametrize(("slow", "fast"), [("fp32", "int8"), ("int8", "fp32")])
def test_a_row_above_its_own_roofline_is_refused(artifact, int8_artifact, monkeypatch, slow, fast):
    """The roofline of one arithmetic is next to nothing here; the row of the other passes."""
    monkeypatch.setattr(roofline, "find_best_rates", lambda *_: {slow: 1e-9, fast: 1e9})
    with pytest.raises(BuildError, match=rf"ran at .* limit in {slow}") as error:
        bench([artifact, int8_artifact], rounds=5)
    assert error.value.message.startswith("tiny8.onnx" if slow == "int8" else "tiny.onnx")


@pytest.mark.parametrize(
    ("precision", "arithmetic"),
    [
        *[("fp32", "fp32"), ("fp16", "fp32"), ("int8", "int8"), ("int8-static", "int8")],
        *[("weights-int8", "int8"), ("weights-int4", "int8")],
    ],
)
def test_the_fastest_arithmetic_of_a_precision(precision, arithmetic):
    assert infer_arithmetic(precision) == arithmetic


def test_a_baseline_without_its_package_is_refused(monkeypatch):
    monkeypatch.setattr(baselines, "find_versions", lambda _: {})
    with pytest.raises(MissingError, match="torchao needs torchao") as error:
        check_baselines(["torchao"])
    assert error.value.fix == "pip install torchao"


def test_baselines_calibrate_on_the_samples_of_the_manifest(artifact):
    manifest = read_manifest(open_artifact(artifact), artifact)
    samples = remake_samples(manifest)
    assert choose_calibration_batches(samples, manifest) is samples.samples
    none = replace(samples, samples=samples.samples[:0], answers=samples.answers[:0])
    assert choose_calibration_batches(none, manifest).shape == (8, 1, 3, 16, 24)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by the baselines' own code
def test_baselines_have_the_weights_of_the_artifact(fashion):
    """Weights that ship are found; the eager answers of the manifest judge each baseline."""
    path = fashion.path["onnx"]
    against = "eager,onnxruntime-plain-sim,onnxruntime-script,openvino"
    results = run_json("bench", path, "--against", against, "--rounds", "5", "-q")
    assert [float(row["worst_snr_db"]) > 90 for row in results["rows"]] == [True] * 5
    assert results["rows"][2]["size_bytes"] > 3e6


def test_weights_of_another_model_are_refused(fashion, tmp_path):
    weights = tmp_path / "other.safetensors"
    manifest = read_manifest(open_artifact(fashion.path["onnx"]), fashion.path["onnx"])
    save_file(random_vit(manifest.spec, 1).state_dict(), weights)
    request = ["--against", "eager", "--weights", weights]
    message = expect_error("bench", fashion.path["onnx"], *request, exit_code=2)
    assert "does not hold the weights of the artifact" in message


def test_gemms_are_those_of_a_block(tmp_path):
    gemms = VitSpec().gemms(2)
    candidates = write_gemm_candidates(gemms, [("fp32", "onnxruntime")], tmp_path, None)
    assert [one.shape for one in candidates] == [(394, 768), (394, 768), (394, 768), (394, 3088)]
    gflop_per_image = 12 * sum(one.gflop for one in candidates) / 4 / 2
    assert 0.95 < gflop_per_image * 1e9 / count_flops(VitSpec(pool="mean")) < 1
    session = onnxruntime.InferenceSession(candidates[0].candidate.path)
    assert [output.shape for output in session.get_outputs()] == [[394, 2304]] * 4


def candidates_of(*kinds, arithmetic="fp32"):
    return [Candidate(name=kind, kind=kind, arithmetic=arithmetic) for kind in kinds]


def test_gemms_run_in_the_runtime_of_every_candidate():
    ours = ("fp32", "onnxruntime")
    assert choose_gemm_kinds(candidates_of("artifact", "onnxruntime")) == [ours]
    all_runtimes = choose_gemm_kinds(candidates_of("artifact", "eager", "openvino"))
    assert all_runtimes == [ours, ("fp32", "torch-gemm"), ("fp32", "openvino")]
    int8 = [ours, ("int8", "int8-gemm")]
    assert choose_gemm_kinds(candidates_of("artifact", arithmetic="int8")) == int8
    torchao = candidates_of("torchao", arithmetic="int8")
    assert choose_gemm_kinds(torchao) == [*int8, ("int8", "torch-int8-gemm")]


@pytest.mark.parametrize(
    ("arithmetic", "kinds"),
    [
        ("fp32", ["onnxruntime", "torch-gemm", "openvino"]),
        ("int8", ["int8-gemm", "torch-int8-gemm"]),
    ],
)
def test_gemms_are_the_same_in_every_runtime(tmp_path, arithmetic, kinds):
    pairs = [(arithmetic, kind) for kind in kinds]
    candidates = write_gemm_candidates(tiny_spec().gemms(1), pairs, tmp_path, 1)
    x = np.random.default_rng(1).standard_normal(candidates[0].shape, np.float32)
    first, *others = [open_candidate(one.candidate).run(x) for one in candidates[: len(kinds)]]
    assert first.shape == (7, 72)
    for other in others:  # a runner answers with one of its products
        assert other.shape == first.shape


def test_the_best_rate_of_each_arithmetic_counts(tmp_path):
    """int8 may fall back on the gemms of fp32."""
    both = [("fp32", "onnxruntime"), ("int8", "int8-gemm")]
    candidates = write_gemm_candidates(tiny_spec().gemms(1), both, tmp_path, 1)
    gflops_per_s = (2, 5, 3, 4, 1, 1, 1, 1)
    pairs = zip(candidates, gflops_per_s, strict=True)
    times_ms = [1000 * one.gflop / rate for one, rate in pairs]
    assert find_best_rates(candidates, times_ms) == pytest.approx({"fp32": 3, "int8": 5})
    times_ms[1] = times_ms[3] = 1e9
    assert find_best_rates(candidates, times_ms) == pytest.approx({"fp32": 3, "int8": 3})


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
    """The tables of the sign test give the bounds: values 2 and 8 of 9, values 6 and 15 of 20."""
    ratio = compare_rounds(times, [1] * len(times))
    assert (ratio.low, ratio.high) == (low, high)


def test_percentiles():
    assert find_percentile([3, 1, 2], 50) == 2
    assert find_percentile(range(1, 11), 90) == 9
    assert find_percentile([5], 90) == 5


def test_files_for_images_of_different_sizes_are_refused(artifact, tmp_path, tiny_toml):
    onnx(tiny_toml, tmp_path / "f.onnx")
    with pytest.raises(RequestError, match="different sizes"):
        bench([artifact, tmp_path / "f.onnx"])


def test_a_model_that_is_no_known_vit_needs_its_code_for_baselines(artifact, tmp_path):
    path = tmp_path / "other.onnx"
    model = onnx_package.load(artifact)
    manifest = next(json.loads(entry.value) for entry in model.metadata_props if entry.key == KEY)
    metadata = {KEY: json.dumps(manifest | {"spec": None})}
    onnx_package.helper.set_model_props(model, metadata)
    onnx_package.save(model, path)
    assert bench([path], rounds=5).rows[0].min_ms > 0
    with pytest.raises(RequestError, match="is no known family: the file was exported"):
        bench([path], against="eager", rounds=5)
