"""Quantized layers run in integers in ONNX Runtime, whether or not their rows are known."""

from collections import Counter
from importlib import import_module

import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from vit_export.quantization.schemes import SCHEMES

timing = import_module("vit_export.bench.layer_timing")
INTEGER = [name for name, scheme in SCHEMES.items() if scheme.activations != "float"]


@pytest.mark.parametrize("rows", [16, ir.SymbolicDim("rows")], ids=["fixed", "free"])
@pytest.mark.parametrize("scheme", INTEGER)
def test_a_layer_is_a_product_of_integers(tmp_path, scheme, rows):
    flavour = "onnxruntime" if scheme == "int8-static-zero-point" else "portable"
    path, optimized = tmp_path / "layers.onnx", tmp_path / "optimized.onnx"
    timing.write_layers(path, (rows, 64, 64), scheme, flavour)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(optimized), 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = Counter(node.op_type for node in onnx.load(optimized).graph.node)
    assert nodes["MatMulIntegerToFloat"] == timing.GEMMS_PER_FILE
    assert nodes["Gemm"] == nodes["MatMul"] == nodes["FusedMatMul"] == 0
