"""`bench` of a user's own code: baselines run or export that code, or are left out in words."""

import own_modules
import pytest
from support import expect_error, mark_slow_except, run, run_json

import vit_export
from vit_export.bench.launch import SkippedBaseline, launch_baselines, read_artifacts
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.rebuild import ModelSource

NET = f"{own_modules.__file__}:Net"
FAST = ("eager", "onnxruntime-plain")
SLOW = ("compile", "onnxruntime-plain-sim", "ort-dynamic", "ort-optimizer")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "n.onnx"
    vit_export.onnx(None, path, module=NET, arguments={"mode": "gelu"}, image_size="32")
    return path


def launch(path, name, folder, **arguments):
    source = ModelSource(module=ModuleRequest(text=NET, arguments=arguments))
    (artifact,) = read_artifacts([path], [1], trust=False)
    (baseline,) = launch_baselines(artifact, [name], source, 1, folder)
    return baseline


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by the baselines' own code
@pytest.mark.parametrize("name", mark_slow_except([*FAST, *SLOW], "eager"))
def test_a_baseline_is_the_users_own_code(net, tmp_path, name):
    """The eager answers in the manifest judge it."""
    with launch(net, name, tmp_path, mode="gelu") as baseline:
        assert baseline.worst_snr_db > (20 if name == "ort-dynamic" else 90)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by the baseline's own code
def test_a_baseline_that_can_not_take_the_code_is_left_out(net, tmp_path):
    """PyTorch's exporter before torch 2.9 has no form of `Tensor.mT`."""
    skipped = launch(net, "onnxruntime-script", tmp_path, mode="gelu")
    assert isinstance(skipped, SkippedBaseline)
    assert "aten::mT" in skipped.reason


@pytest.mark.slow
def test_the_table_says_what_is_left_out(tmp_path):
    """PyTorch's own exporter writes no file of code that needs its batch as a number."""
    out, code = tmp_path / "n.onnx", f"{own_modules.__file__}:Groups"
    run("onnx", "--module", code, "--image-size", 32, "--batch", 1, "--out", out, "-q")
    words = ("--module", code, "--against", "eager,onnxruntime-plain", "--rounds", 5, "-q")
    text = run("bench", out, *words).stdout
    assert "onnxruntime-plain is left out: " in text
    rows = run_json("bench", out, *words)
    assert [one["name"] for one in rows["rows"]] == ["n.onnx", "eager"]
    assert list(rows["skipped"]) == ["onnxruntime-plain"]


@pytest.mark.slow
def test_a_file_without_a_graph_has_the_limit_of_its_code(net, tmp_path):
    path = tmp_path / "n.pt"
    own = ("--module", NET, "--set", "mode=gelu")
    run("torchscript", *own, "--image-size", 32, "--out", path, "-q")
    text = expect_error("bench", path, "--rounds", 5, exit_code=2)
    assert "name the code that it was exported from" in text
    flops = run_json("bench", path, "--rounds", 5, "-q", *own)["flops"]
    assert flops == run_json("bench", net, "--rounds", 5, "-q")["flops"]


def test_baselines_need_the_code_of_the_file(net, fashion):
    words = ("--against", "eager", "--rounds", 5)
    assert "give that code too" in expect_error("bench", net, *words, exit_code=2)
    text = expect_error("bench", net, *words, "--module", NET, exit_code=2)
    assert "The file was exported with --set mode='gelu'" in text
    text = expect_error("bench", fashion.path["onnx"], *words, "--module", NET, exit_code=2)
    assert "is of a known family" in text
