"""bf16: the converted graph, and the graph that emulates it in fp32."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from quantized_models import run_eager
from support import SEED_STYLE, snr_db, tiny_spec

from vit_export.artifact.batch import Batch
from vit_export.backends.onnx.session import OnnxSession
from vit_export.graph.capture import capture
from vit_export.graph.cost import macs_by_dtype
from vit_export.graph.optimize import optimize
from vit_export.graph.save import save
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.bfloat16_emulation import emulate_bf16
from vit_export.quantization.convert import convert_to_bf16
from vit_export.quantization.float16 import BF16, find_unsupported
from vit_export.validation.tolerances import TOLERANCES


def make_model(spec):
    vit = random_vit(spec, 0)
    model = capture(lower(vit), spec.signature, opset=20, batch=Batch())
    optimize(model, "tensorrt")
    return vit, model


def open_emulation(model, path):
    assert emulate_bf16(model) > 0
    save(model, path, opset=20)
    return OnnxSession(path)


@pytest.mark.parametrize("changes", [{}, SEED_STYLE, {"mlp": "quick_gelu"}])
def test_the_emulation_loses_what_bf16_loses(tmp_path, changes):
    """More than fp32 would, or nothing is rounded; and no more than the tolerance."""
    vit, model = make_model(tiny_spec(**changes))
    convert_to_bf16(model)
    assert max(macs_by_dtype(model.graph), key=macs_by_dtype(model.graph).get) == "bf16"
    images = np.random.default_rng(0).standard_normal((3, 3, 16, 24), np.float32)
    answers = open_emulation(model, tmp_path / "f.onnx").run(images)
    for expected, answer in zip(run_eager(vit, images), answers, strict=True):
        assert TOLERANCES["bf16"].least_snr_db < snr_db(expected, answer) < 70


def test_each_value_is_rounded_once(tmp_path):
    """A product has factors in bf16, sums in fp32, and is rounded to bf16 at the end."""
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
    w.type, w.shape = ir.TensorType(BF16), ir.Shape((8, 5))
    outputs = [node.outputs[0] for node in model.graph]
    for value, dtype in zip(outputs, (BF16, BF16, ir.DataType.FLOAT), strict=True):
        value.type = ir.TensorType(dtype)
    x = random.standard_normal((3, 8), np.float32)
    exact = x.astype(ml_dtypes.bfloat16).astype(np.float32) @ weight.astype(np.float32)
    answer = open_emulation(model, tmp_path / "f.onnx").run(x)
    assert answer.tolist() == exact.astype(ml_dtypes.bfloat16).astype(np.float32).tolist()
    assert answer.tolist() != exact.tolist()


def test_operators_without_bf16_in_the_standard_stay_in_fp32():
    _, model = make_model(tiny_spec())
    names = find_unsupported(model, BF16)
    assert any(name.endswith("Conv") for name in names)
    assert not any(name.endswith(("Gemm", "MatMul", "Gelu")) for name in names)
