"""A model above 2 GB is exported and proven within a bound on memory."""

import sys

import pytest
from support import ROOT, run_json

sys.path.insert(0, str(ROOT / "scripts"))

from export_costs import COMMAND, watch, write_checkpoint


@pytest.mark.slow
@pytest.mark.sweep("two-gigabytes")
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_vit_of_two_and_a_half_gigabytes(tmp_path):
    """ViT-H/14 needs at most 2.5 times its weights plus 1 GB; weights get a file of their own."""
    model, weights = "vit_huge_patch14_224", tmp_path / "weights.safetensors"
    megabytes = write_checkpoint(model, weights)
    out = tmp_path / "h.onnx"
    request = [COMMAND, "onnx", "--model", model, "--weights", weights, "--out", out, "--quiet"]
    _, peak = watch([str(part) for part in request])
    assert megabytes > 2500
    assert peak < 2.5 * megabytes + 1000
    (data,) = tmp_path.glob("h.onnx.*.data")
    assert out.stat().st_size < 1e6 < data.stat().st_size
    assert run_json("inspect", out)["size_bytes"] > 2.5e9
