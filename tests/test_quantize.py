"""Quantization step by step: rounding, smoothing, the nodes of a graph, and fp16."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from quantized_models import (
    WIDE,
    add_outliers,
    make_batch,
    make_graph,
    make_images,
    make_plan_for,
    plan_without_calibration,
    quantize_model,
    run_eager,
    run_graph,
)
from support import VARIANTS, mark_slow_except, snr_db, tiny_spec
from torch.nn import functional

from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.errors import BuildError, ProofError, RequestError
from vit_export.graph.cost import macs_by_dtype
from vit_export.graph.saturation import PAIR_LIMIT, sum_pairs
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.convert import check_arithmetic, convert_to_fp16, quantize
from vit_export.quantization.fake_quant import fake_quantize
from vit_export.quantization.gptq import round_with_gptq
from vit_export.quantization.kept_layers import find_kept_layers
from vit_export.quantization.layers import find_linear_layers
from vit_export.quantization.observer import collect_stats
from vit_export.quantization.plan import QuantizationPlan, plan_layer
from vit_export.quantization.schemes import BLOCK
from vit_export.quantization.smoothquant import smooth_channels
from vit_export.quantization.weights import expand_scales, round_to_nearest

FLAVOURS = ["portable", "onnxruntime"]
EVERY_DAY = ("paper", "seed", "distilled", "swiglu, layer scale", "attention pooling")
"""Kinds of ViTs whose tests are not slow."""


@pytest.mark.parametrize("shape", [(5, 64), (1, 32), (48, 96)])
def test_rounding_errs_by_half_a_step_at_most(shape):
    weight = np.random.default_rng(0).standard_normal(shape, np.float32)
    rounded = round_to_nearest(weight, 8, None)
    error = np.abs(rounded.dequantize() - weight)
    assert (error <= expand_scales(rounded.scales, shape[1]) * 0.5001).all()
    assert np.abs(rounded.integers).max(axis=1).min() == 127  # each channel uses the whole range
    assert rounded.integers.min() >= -127


def heavy_tailed(shape):
    """Weights whose channels are mostly large: many pairs exceed the limit."""
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 64), (3, 1), (48, 33)])
def test_pairs_keep_the_limit_of_16_bits(shape):
    weight = torch.from_numpy(heavy_tailed(shape))
    inputs = torch.randn(50, shape[1], generator=torch.Generator().manual_seed(0))
    for pairs in (False, True):
        for rounded in (
            round_to_nearest(weight.numpy(), 8, None, pairs=pairs),
            round_with_gptq(weight, inputs, 8, None, pairs=pairs),
        ):
            largest = sum_pairs(rounded.integers.astype(int)).max()
            assert (largest <= PAIR_LIMIT) == (pairs or shape[1] == 1)
            assert snr_db(weight.numpy(), rounded.dequantize()) > 33  # seven bits at least


def test_pairs_that_keep_the_limit_cost_nothing():
    weight = heavy_tailed((8, 64)) * np.tile(np.array([1, 0.001], np.float32), 32)
    wide, limited = (round_to_nearest(weight, 8, None, pairs=pairs) for pairs in (False, True))
    assert np.array_equal(wide.integers, limited.integers)
    assert np.array_equal(wide.scales, limited.scales)


def test_only_weights_of_one_sign_add_up():
    weight = np.array([[100, -100, 3, 4], [-60, -70, 0, 90], [127, 1, 127, 0]])
    assert sum_pairs(weight).tolist() == [[100, 7], [130, 90], [128, 127]]


@pytest.mark.parametrize(("bits", "block"), [(8, None), (4, 32)])
def test_a_channel_of_zeros_stays_zero(bits, block):
    zeros, rows = torch.zeros(2, 64), torch.zeros(5, 64)
    for rounded in (
        round_to_nearest(zeros.numpy(), bits, block),
        round_with_gptq(zeros, rows, bits, block),
    ):
        assert not rounded.integers.any()
        assert np.isfinite(rounded.scales).all()


def test_blocks_use_sixteen_integers_and_err_less_than_whole_channels():
    weight = np.random.default_rng(0).standard_normal((16, 128), np.float32)
    weight[:, 5] *= 30
    rounded = round_to_nearest(weight, 4, 32)
    assert (rounded.integers.min(), rounded.integers.max()) == (-8, 7)
    whole = round_to_nearest(weight, 4, 128)
    assert snr_db(weight, rounded.dequantize()) > snr_db(weight, whole.dequantize()) + 3


@pytest.mark.parametrize(("bits", "block"), [(8, None), (4, 32)])
def test_gptq_keeps_more_of_the_output_than_rounding_to_nearest(bits, block):
    """On inputs other than those of the calibration, with correlated channels as in a ViT."""
    random = torch.Generator().manual_seed(0)
    weight, mix = (torch.randn(64, 64, generator=random) for _ in range(2))
    few, others = (torch.randn(500, 8, generator=random) @ mix[:8] for _ in range(2))
    exact = (others @ weight.T).numpy()
    nearest = torch.from_numpy(round_to_nearest(weight.numpy(), bits, block).dequantize())
    gptq = torch.from_numpy(round_with_gptq(weight, few, bits, block).dequantize())
    gain = snr_db(exact, (others @ gptq.T).numpy()) - snr_db(exact, (others @ nearest.T).numpy())
    assert gain > 6


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_smoothing_changes_no_answer(variant):
    spec = tiny_spec(**VARIANTS[variant])
    vit = random_vit(spec, 0)
    lowered = lower(vit)
    stats, _ = collect_stats(lowered, make_images(spec))
    before = {name: layer.weight.clone() for name, layer in find_linear_layers(lowered).items()}
    smooth_channels(lowered, stats, dict.fromkeys(before, "int8"))
    for _, image in make_images(spec, seed=2):
        assert snr_db(run_eager(vit, image[None]), run_eager(lowered, image[None])) > 90
    after = find_linear_layers(lowered)
    assert any(not torch.equal(before[name], after[name].weight) for name in before)


def test_smoothing_updates_statistics_as_another_run_would():
    spec = tiny_spec(**WIDE)
    lowered = lower(add_outliers(random_vit(spec, 0)))
    stats, _ = collect_stats(lowered, make_images(spec))
    schemes = dict.fromkeys(find_linear_layers(lowered), "int8")
    strengths = smooth_channels(lowered, stats, schemes)
    again, _ = collect_stats(lowered, make_images(spec))
    for name, expected in again.items():
        for ours, theirs in (
            (stats[name].mean, expected.mean),
            (stats[name].low, expected.low),
            (stats[name].high, expected.high),
        ):
            assert torch.allclose(ours, theirs, atol=1e-4 * float(expected.high.max())), name
    assert max(strengths.values()) > 0  # there is something to smooth


def test_smoothing_restores_accuracy_that_outliers_cost():
    spec = tiny_spec(**WIDE)
    vit = add_outliers(random_vit(spec, 0))
    batch = make_batch(spec, seed=3)
    expected = run_eager(vit, batch)
    lowered = lower(vit)
    naive = make_graph(lowered, spec)
    plan = plan_without_calibration(lowered, dict.fromkeys(find_linear_layers(lowered), "int8"))
    quantize(naive, plan, "int8", "portable")
    ours = quantize_model(vit, QuantizationRequest("int8"))
    gain = snr_db(expected, run_graph(ours, batch)) - snr_db(expected, run_graph(naive, batch))
    assert gain > 3


def test_the_bias_takes_the_mean_error_of_the_rounded_weight():
    spec = tiny_spec(**WIDE)
    lowered = lower(random_vit(spec, 0))
    name = "blocks.1.mlp.contract"
    stats, _ = collect_stats(lowered, make_images(spec))
    layer, rows = lowered.get_submodule(name), stats[name].rows
    plan = plan_layer(layer, stats[name], "weights-int4")
    rounded = torch.from_numpy(plan.weight.dequantize())
    exact = rows @ layer.weight.T + layer.bias
    corrected = functional.linear(rows, rounded, torch.from_numpy(plan.bias)) - exact
    uncorrected = functional.linear(rows, rounded, layer.bias) - exact
    assert corrected.mean(dim=0).abs().mean() < uncorrected.mean(dim=0).abs().mean() / 2


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    ("quantization", "opset", "least_db"),
    [
        (QuantizationRequest("int8"), 20, 30),
        (QuantizationRequest("int8", "token"), 20, 30),
        (QuantizationRequest("int8-static"), 20, 30),
        (QuantizationRequest("weights-int8"), 20, 30),
        (QuantizationRequest("weights-int4"), 21, 12),
    ],
    ids=["int8", "int8 token", "int8-static", "weights-int8", "weights-int4"],
)
def test_the_runtime_rounds_as_fake_quantization_does(quantization, opset, least_db, flavour):
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    image = make_batch(spec, 1, seed=3)
    model = quantize_model(vit, quantization, flavour, opset)
    answer = run_graph(model, image)
    with fake_quantize(*make_plan_for(vit, quantization, flavour)) as lowered:
        rounded = run_eager(lowered, image)
    assert snr_db(run_eager(vit, image), answer) > least_db
    # with weights alone, ONNX Runtime rounds inputs too (MatMulNBits); the evaluator does not
    if quantization.precision.startswith("weights") and flavour == "portable":
        evaluator = onnx.reference.ReferenceEvaluator(ir.to_proto(model))
        answer = evaluator.run(None, {"image": image})[0]
    assert snr_db(rounded, answer) > (50 if quantization.precision == "weights-int8" else 100)


@pytest.mark.parametrize("variant", mark_slow_except(sorted(VARIANTS), *EVERY_DAY))
def test_every_kind_of_block_is_quantized(variant):
    spec = tiny_spec(**VARIANTS[variant])
    model = quantize_model(random_vit(spec, 0), QuantizationRequest("int8"))
    layers = find_linear_layers(lower(random_vit(spec, 0)))
    integer = [node for node in model.graph if node.op_type == "MatMulInteger"]
    assert len(integer) == len(layers)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@pytest.mark.parametrize(
    ("quantization", "operators"),
    [
        (QuantizationRequest("int8"), {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}),
        (QuantizationRequest("int8", "token"), {"MatMulIntegerToFloat"}),
        (QuantizationRequest("int8-static"), {"MatMulIntegerToFloat"}),
    ],
    ids=["int8", "int8 token", "int8-static"],
)
def test_onnxruntime_fuses_every_layer_into_a_product_of_integers(
    tmp_path, quantization, operators
):
    """Q and DQ stand where ONNX Runtime fuses them: the encoder has no product of floats left."""
    spec = tiny_spec(**WIDE)
    proto = ir.to_proto(quantize_model(random_vit(spec, 0), quantization))
    proto.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(proto.SerializeToString(), options)
    nodes = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    fused = [operator for operator in nodes if operator in operators]
    assert len(fused) == len(find_linear_layers(lower(random_vit(spec, 0))))
    assert nodes.count("Gemm") + nodes.count("FusedGemm") <= 1  # the head


@pytest.mark.parametrize(
    ("precision", "arithmetic"),
    [
        ("int8", "int8"),
        ("int8-static", "int8"),
        ("weights-int8", "fp32 x int8"),
        ("weights-int4", "fp32 x int4"),
    ],
)
def test_most_multiply_adds_are_in_the_arithmetic_of_the_precision(precision, arithmetic):
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    counts = macs_by_dtype(quantize_model(vit, QuantizationRequest(precision), opset=21).graph)
    assert next(iter(counts)) == arithmetic
    plain = macs_by_dtype(make_graph(lower(vit), spec).graph)
    assert sum(counts.values()) == sum(plain.values())


@pytest.mark.parametrize("precision", ["int8", "int8-static", "fp16", "weights-int8"])
def test_a_graph_that_stayed_in_fp32_is_a_failure(precision):
    model = make_graph(lower(random_vit(tiny_spec(), 0)), tiny_spec())
    with pytest.raises(ProofError, match=f"not {precision}.* in fp32"):
        check_arithmetic(model, precision)


def test_a_layer_that_the_graph_lacks_is_a_failure():
    lowered = lower(random_vit(tiny_spec(), 0))
    model = make_graph(lowered, tiny_spec())
    name = "blocks.0.mlp.expand"
    layer = plan_without_calibration(lowered, {name: "int8"}).layers[name]
    plan = QuantizationPlan(layers={"blocks.7.mlp.expand": layer})
    with pytest.raises(BuildError, match=r"has no blocks\.7\.mlp\.expand"):
        quantize(model, plan, "int8", "portable")


def test_a_layer_of_other_weights_is_a_failure():
    lowered = lower(random_vit(tiny_spec(), 0))
    model = make_graph(lowered, tiny_spec())
    names = [name for name in find_linear_layers(lowered) if name.endswith("attention.projection")]
    layer = plan_without_calibration(lowered, {names[-1]: "int8"}).layers[names[-1]]
    with pytest.raises(BuildError, match=r"other weights than the plan"):
        quantize(model, QuantizationPlan(layers={names[0]: layer}), "int8", "portable")


def test_fp16_keeps_norms_and_softmax_in_fp32():
    spec = tiny_spec(**WIDE)
    model = make_graph(lower(random_vit(spec, 0)), spec)
    fp16_range = convert_to_fp16(model, make_batch(spec), io=False)
    for node in model.graph:
        if node.op_type in {"LayerNormalization", "Softmax", "ReduceMean"}:
            assert node.outputs[0].dtype == ir.DataType.FLOAT, node.name
        elif node.op_type in {"Gemm", "MatMul", "Conv", "Gelu"}:
            assert node.outputs[0].dtype == ir.DataType.FLOAT16, node.name
    assert fp16_range.kept == 0
    assert 0 < fp16_range.largest < 65504 / 4


def run_reference(model, batch):
    """The answers of ONNX's reference evaluator, which rounds to fp16 after every node.

    ONNX Runtime computes fp16 in fp32 on x86.
    """
    return onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"image": batch})[0]


def test_fp16_keeps_the_answers_in_an_evaluator_that_rounds_after_every_node():
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    model, batch = make_graph(lower(vit), spec), make_batch(spec)
    convert_to_fp16(model, batch, io=False)
    assert snr_db(run_eager(vit, batch), run_reference(model, batch)) > 50


def find_matmuls_in_fp32(model):
    return [
        node.name
        for node in model.graph
        if node.op_type in {"Gemm", "MatMul"} and node.outputs[0].dtype == ir.DataType.FLOAT
    ]


def test_a_tensor_too_large_for_fp16_stays_in_fp32():
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    with torch.no_grad():
        vit.blocks[1].mlp.contract.weight *= 3e5
    model, batch = make_graph(lower(vit), spec), make_batch(spec)
    assert convert_to_fp16(model, batch, io=False).kept > 0
    assert any(name.startswith("blocks.1") for name in find_matmuls_in_fp32(model))
    assert snr_db(run_eager(vit, batch), run_reference(model, batch)) > 50


def test_the_output_of_a_norm_becomes_fp16_too():
    """The norm itself stays in fp32; its output is cast in front of the layer that reads it."""
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    with torch.no_grad():
        vit.blocks[0].mlp_norm.weight[0] *= 1e5
        vit.blocks[0].mlp.expand.weight[:, 0] /= 1e5
    model, batch = make_graph(lower(vit), spec), make_batch(spec)
    fp16_range = convert_to_fp16(model, batch, io=False)
    assert any(name.startswith("blocks.0.mlp.expand") for name in find_matmuls_in_fp32(model))
    assert fp16_range.largest < 65504 / 4
    assert snr_db(run_eager(vit, batch), run_reference(model, batch)) > 50


def test_four_bits_need_whole_blocks():
    assert BLOCK == 32
    spec = tiny_spec()  # 24 wide: no whole block
    lowered = lower(random_vit(spec, 0))
    assert find_kept_layers(lowered, QuantizationRequest("weights-int8")) == {}
    with pytest.raises(RequestError, match=r"24 .* blocks of 32"):
        find_kept_layers(lowered, QuantizationRequest("weights-int4"))
