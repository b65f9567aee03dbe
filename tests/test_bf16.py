"""bf16: what becomes of a graph, and the twin that rounds as it does and computes in fp32."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch
from support import SEED_STYLE, tiny_spec

from vit_export.artifact.batch import Batch
from vit_export.backends.onnx.session import OnnxSession
from vit_export.core.numerics import snr_db
from vit_export.graph.capture import capture
from vit_export.graph.cost import macs_by_dtype
from vit_export.graph.optimize import optimize
from vit_export.graph.save import save
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.bfloat16_emulation import round_in_fp32
from vit_export.quantization.convert import halve_to_bf16
from vit_export.quantization.float16 import BRAIN, without
from vit_export.validation.tolerances import TOLERANCES


def graph(spec):
    vit = random_vit(spec, 0)
    model = capture(lower(vit), spec.signature, opset=20, batch=Batch())
    optimize(model, "tensorrt")
    return vit, model


def twin(model, path):
    assert round_in_fp32(model) > 0
    save(model, path, opset=20)
    return OnnxSession(path)


@pytest.mark.parametrize("changes", [{}, SEED_STYLE, {"mlp": "quick_gelu"}])
def test_the_twin_loses_what_eight_bits_lose(tmp_path, changes):
    """More than fp32 would, or nothing was rounded; and what is allowed at most."""
    vit, model = graph(tiny_spec(**changes))
    halve_to_bf16(model)
    assert next(iter(macs_by_dtype(model.graph))) == "bf16"
    images = np.random.default_rng(0).standard_normal((3, 3, 16, 24), np.float32)
    with torch.no_grad():
        expected = vit(torch.from_numpy(images)).numpy()
    for one, found in zip(expected, twin(model, tmp_path / "f.onnx").run(images), strict=True):
        assert TOLERANCES["bf16"].least_snr_db < snr_db(one, found) < 70


def test_each_value_is_rounded_once(tmp_path):
    """x W in fp32 sums, of factors in bf16, rounded to bf16 at the end."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 5)).astype(ml_dtypes.bfloat16)
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[N, 8] x) => (float[N, 5] y) '
        "<bfloat16[8, 5] w = {" + ", ".join(["0"] * 40) + "}> "
        "{ half = Cast<to = 16>(x) product = MatMul(half, w) y = Cast<to = 1>(product) }"
    )
    for node in model.graph:
        node.name = f"to {node.outputs[0].name}"
    w = model.graph.initializers["w"]
    w.const_value = ir.tensor(weight, name="w")
    w.type, w.shape = ir.TensorType(BRAIN), ir.Shape((8, 5))
    for value, dtype in zip(
        [node.outputs[0] for node in model.graph],
        [BRAIN, BRAIN, ir.DataType.FLOAT],
        strict=True,
    ):
        value.type = ir.TensorType(dtype)
    x = random.standard_normal((3, 8), np.float32)
    exact = x.astype(ml_dtypes.bfloat16).astype(np.float32) @ weight.astype(np.float32)
    found = twin(model, tmp_path / "f.onnx").run(x)
    assert found.tolist() == exact.astype(ml_dtypes.bfloat16).astype(np.float32).tolist()
    assert found.tolist() != exact.tolist()


def test_operators_that_the_standard_lacks_in_bf16_stay_in_fp32():
    _, model = graph(tiny_spec())
    kept = without(model, BRAIN)
    assert any(name.endswith("Conv") for name in kept)
    assert not any(name.endswith(("Gemm", "MatMul", "Gelu")) for name in kept)
