"""The bench: contestants take turns, one at a time; its numbers add up; bad requests are told."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from support import refused, run, run_json, tiny_spec

from vit_export import BuildError, RequestError, VitSpec, bench, onnx
from vit_export.batch import Batch
from vit_export.runtimes import open_artifact, read_manifest
from vit_export.speed.contestants import Contestant, opened
from vit_export.speed.limit import contestants as products
from vit_export.speed.limit import runtimes_of
from vit_export.speed.measure import flops_of_spec
from vit_export.speed.peers import PEERS, peers
from vit_export.speed.rows import percentile, ratio
from vit_export.speed.turns import Worker
from vit_export.vit.weights import random_vit


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    spec = tiny_spec(depth=1)
    folder = tmp_path_factory.mktemp("bench")
    path = folder / "tiny.onnx"
    onnx((spec, random_vit(spec, 0).state_dict()), path)
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


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers' own code
@pytest.mark.parametrize("name", PEERS)
def test_every_peer_answers(tmp_path, name):
    """With the answers of the eager model of the same weights: the peers run what they should."""
    spec = tiny_spec(depth=1)
    vit = random_vit(spec, 7)
    save_file(vit.state_dict(), tmp_path / "w.safetensors")
    (contestant,) = peers([name], spec, str(tmp_path / "w.safetensors"), tmp_path, threads=1)
    answer, version = opened(contestant)
    images = np.random.default_rng(1).standard_normal((2, 3, 16, 24), np.float32)
    expected = vit(torch.from_numpy(images))
    np.testing.assert_allclose(answer(images), expected, rtol=1e-4, atol=1e-5)
    assert version


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
    made = products(spec, 2, tmp_path, None, ["onnxruntime"])
    assert [one.shape for one in made] == [(394, 768), (394, 768), (394, 768), (394, 3088)]
    per_image = 12 * sum(one.gflop for one in made) / 4 / 2
    assert 0.95 < per_image * 1e9 / flops_of_spec(VitSpec(pool="mean")) < 1
    session = onnxruntime.InferenceSession(made[0].contestant.path)
    assert [output.shape for output in session.get_outputs()] == [[394, 2304]] * 4


def test_products_are_measured_in_every_runtime_that_takes_part(tmp_path):
    assert runtimes_of(["artifact", "onnxruntime"]) == ["onnxruntime"]
    everywhere = runtimes_of(["artifact", "eager", "openvino"])
    made = products(tiny_spec(), 1, tmp_path, 1, everywhere)
    images = np.random.default_rng(1).standard_normal(made[0].shape, np.float32)
    first, *others = [opened(one.contestant)[0](images) for one in made[:3]]
    assert first.shape == (7, 72)
    for other in others:  # openers answer with one of the products
        assert other.shape == first.shape


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
