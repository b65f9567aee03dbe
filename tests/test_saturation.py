"""int8 files answer alike on x86 CPUs with and without VNNI: no sum of two products saturates."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from masked_cpu import masked
from quantized_models import quantize_model
from support import run, tiny_spec

from vit_export.artifact.precision import QuantizationRequest
from vit_export.bench.ort_quantizers import QUANTIZERS
from vit_export.core.errors import ProofError
from vit_export.core.int8_sums import FITS_KEY, PRECISE
from vit_export.core.numerics import measure_signal, snr_db
from vit_export.graph.saturation import find_saturating
from vit_export.model.vit.state import random_vit
from vit_export.quantization.schemes import Scheme

REQUESTS = {
    "int8": QuantizationRequest("int8", include=("attention", "patches", "head")),
    "token": QuantizationRequest("int8", scales="token"),
    "int8-static": QuantizationRequest("int8-static"),
    "int8-static for onnxruntime": QuantizationRequest("int8-static"),
}
"""One request for each form of an int8 product."""
ANSWER = """
import json, sys
from pathlib import Path
import numpy as np
from vit_export.backends.onnx.session import OnnxSession
session = OnnxSession(Path(sys.argv[1]), 1)
answers = session.run(np.load(sys.argv[2]))
print(json.dumps([session.runtime, answers.tolist()]))
"""


def answer(path, inputs, env=None):
    """The runtime and the answers of a file, in a process of its own."""
    command = [sys.executable, "-c", ANSWER, path, inputs]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    runtime, answers = json.loads(done.stdout)
    return runtime, np.array(answers)


def worst_snr_db(expected, answers):
    return min(map(partial(snr_db, measure_signal(expected)), expected, answers))


def quantize_tiny(name):
    flavour = "onnxruntime" if "onnxruntime" in name else "portable"
    return quantize_model(random_vit(tiny_spec(), 0), REQUESTS[name], flavour)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_plan_that_ignores_pairs_is_refused(name, monkeypatch):
    quantize_tiny(name)
    monkeypatch.setattr(Scheme, "limits_pairs", False)
    with pytest.raises(ProofError, match="can saturate on x86"):
        quantize_tiny(name)


@pytest.mark.parametrize("name", REQUESTS)
def test_one_pair_is_noticed(name):
    model = quantize_tiny(name)
    weights = [
        value
        for value in model.graph.initializers.values()
        if value.const_value.dtype == ir.DataType.INT8 and value.const_value.size > 1
    ]
    assert len(weights) > 1
    for value in weights:
        exact = value.const_value
        for rows, count in (((2, 3), 1), ((1, 2), 0)):  # kernels add inputs 2i and 2i + 1
            numbers = exact.numpy().copy()
            numbers[:4, -1] = 0
            numbers[rows, -1] = 65, 64
            value.const_value = ir.tensor(numbers)
            assert len(find_saturating(model.graph)) == count
        value.const_value = exact


def test_u8_weights_and_float_products_are_exact():
    weights = QuantizationRequest("weights-int8")
    assert not find_saturating(quantize_model(random_vit(tiny_spec(), 0), weights).graph)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, fashion_inputs):
    path = tmp_path_factory.mktemp("inputs") / "inputs.npy"
    np.save(path, fashion_inputs[:100])
    return path


def test_an_int8_file_answers_alike_without_vnni(cpu_mask, fashion, inputs, tmp_path):
    """Others open it without our options, so `predict` needs none either."""
    path = tmp_path / "f.onnx"
    run("onnx", "--model", "fashion_mnist", "--precision", "int8", "--out", path, "-q")
    _, eager = answer(fashion.path["onnx"], inputs)
    _, native = answer(path, inputs)
    for kept in ("avx2", "avx512"):
        runtime, without = answer(path, inputs, masked(cpu_mask, kept))
        assert PRECISE not in runtime
        worst = [worst_snr_db(eager, answers) for answers in (native, without)]
        assert abs(worst[0] - worst[1]) < 1


@pytest.mark.slow
def test_a_file_of_others_is_opened_with_the_exact_option(cpu_mask, fashion, inputs, tmp_path):
    """ONNX Runtime's own quantizer uses all weights up to 127, whose sums saturate."""
    path = tmp_path / "f.onnx"
    batch = np.load(inputs)[:4, None]
    QUANTIZERS["dynamic"](fashion.path["onnx"], path, batch)
    assert find_saturating(ir.load(path).graph)
    runtime, native = answer(path, inputs)
    precise_runtime, precise = answer(path, inputs, masked(cpu_mask, "avx2"))
    assert (PRECISE in runtime, PRECISE in precise_runtime) == (False, True)
    assert worst_snr_db(native, precise) > 40
    lie = onnx.load(path)
    onnx.helper.set_model_props(lie, {FITS_KEY: "16 bits"})
    onnx.save(lie, path)
    _, saturated = answer(path, inputs, masked(cpu_mask, "avx2"))
    assert worst_snr_db(native, saturated) < 30
