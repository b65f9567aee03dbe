"""Fewer bits, rule by rule: rounding, equalizing, forms in a graph."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from support import VARIANTS, rarely, tiny_spec
from torch.nn import functional

from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.errors import BuildError, ProofError, RequestError
from vit_export.core.numerics import snr_db
from vit_export.core.progress import silent
from vit_export.graph.capture import capture
from vit_export.graph.cost import macs_by_dtype
from vit_export.graph.optimize import optimize
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.convert import check_census, halve, quantize
from vit_export.quantization.fake_quant import played
from vit_export.quantization.gptq import round_compensating
from vit_export.quantization.layers import linear_layers
from vit_export.quantization.observer import observe
from vit_export.quantization.plan import LayerPlan, Plan
from vit_export.quantization.prepare import check_blocks, prepare
from vit_export.quantization.schemes import BLOCK
from vit_export.quantization.smoothquant import equalize
from vit_export.quantization.weights import round_plainly, spread

WIDE = {"image_size": (32, 32), "patch_size": 8, "width": 64, "heads": 4, "depth": 3}
FLAVOURS = ["portable", "onnxruntime"]
OFTEN = ("paper", "seed", "distilled", "swiglu, layer scale", "attention pooling")
"""Kinds of ViTs that are tried every day."""


def images(spec, count=6, seed=1):
    random = np.random.default_rng(seed)
    shape = (spec.channels, *spec.image_size)
    return [(f"{n}.png", random.standard_normal(shape, np.float32)) for n in range(count)]


def with_outliers(vit, factor=8.0):
    """The same function with channels after its norms that are `factor` times as large.

    That is what trained ViTs have and random ones have not, and what breaks int8.
    """
    with torch.no_grad():
        for block in vit.blocks:
            for norm, reader in (
                (block.attention_norm, block.attention.qkv),
                (block.mlp_norm, block.mlp.expand),
            ):
                norm.weight[::16] *= factor
                norm.bias[::16] *= factor
                reader.weight[:, ::16] /= factor
    return vit


def graph_of(lowered, spec, opset=20, flavour="portable"):
    batch = Batch.parse("dynamic")
    model = simplify(capture(lowered, spec.signature, opset=opset, batch=batch))
    optimize(model, flavour)
    return model


def answers(model, made):
    proto = ir.to_proto(model)
    proto.ir_version = 10
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {"image": np.stack(made)})[0]


def reduced(vit, asked, flavour="portable", opset=20):
    spec, lowered = vit.spec, lower(vit)
    seen, _ = observe(lowered, images(spec))
    plan = prepare(lowered, asked, flavour, seen, silent)
    model = graph_of(lowered, spec, opset, flavour)
    quantize(model, plan, asked.precision, flavour)
    return model


def plainly(lowered, schemes):
    """A plan that looks at nothing: every weight to the nearest step."""
    layers = linear_layers(lowered)
    return Plan(
        layers={
            name: LayerPlan(
                scheme=scheme,
                weight=round_plainly(layers[name].weight.numpy(), 8, None),
                bias=layers[name].bias.numpy(),
            )
            for name, scheme in schemes.items()
        }
    )


@pytest.mark.parametrize("shape", [(5, 64), (1, 32), (48, 96)])
def test_a_channel_is_rounded_by_half_a_step_at_most(shape):
    weight = np.random.default_rng(0).standard_normal(shape, np.float32)
    rounded = round_plainly(weight, 8, None)
    error = np.abs(rounded.restored() - weight)
    assert (error <= spread(rounded.scales, shape[1]) * 0.5001).all()
    assert np.abs(rounded.integers).max(axis=1).min() == 127  # the whole range is used
    assert rounded.integers.min() >= -127


@pytest.mark.parametrize(("bits", "block"), [(8, None), (4, 32)])
def test_a_channel_of_zeros_stays_zero(bits, block):
    zeros, rows = torch.zeros(2, 64), torch.zeros(5, 64)
    for rounded in (
        round_plainly(zeros.numpy(), bits, block),
        round_compensating(zeros, rows, bits, block),
    ):
        assert not rounded.integers.any()
        assert np.isfinite(rounded.scales).all()


def test_blocks_use_sixteen_values_and_err_less_than_one_scale_for_all():
    weight = np.random.default_rng(0).standard_normal((16, 128), np.float32)
    weight[:, 5] *= 30
    rounded = round_plainly(weight, 4, 32)
    assert (rounded.integers.min(), rounded.integers.max()) == (-8, 7)
    whole = round_plainly(weight, 4, 128)
    assert snr_db(weight, rounded.restored()) > snr_db(weight, whole.restored()) + 3


@pytest.mark.parametrize(("bits", "block"), [(8, None), (4, 32)])
def test_rounding_that_compensates_keeps_more_of_the_output(bits, block):
    """On other inputs than it saw, of channels that move together as those of a ViT do."""
    random = torch.Generator().manual_seed(0)
    weight, mix = (torch.randn(64, 64, generator=random) for _ in range(2))
    few, others = (torch.randn(500, 8, generator=random) @ mix[:8] for _ in range(2))
    exact = (others @ weight.T).numpy()
    plain = torch.from_numpy(round_plainly(weight.numpy(), bits, block).restored())
    made_up = torch.from_numpy(round_compensating(weight, few, bits, block).restored())
    gain = snr_db(exact, (others @ made_up.T).numpy()) - snr_db(exact, (others @ plain.T).numpy())
    assert gain > 6


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_equalizing_changes_no_answer(variant):
    spec = tiny_spec(**VARIANTS[variant])
    vit = random_vit(spec, 0)
    lowered = lower(vit)
    seen, _ = observe(lowered, images(spec))
    before = {name: layer.weight.clone() for name, layer in linear_layers(lowered).items()}
    equalize(lowered, seen, dict.fromkeys(before, "int8"))
    for _, made in images(spec, seed=2):
        image = torch.from_numpy(made[None])
        with torch.no_grad():
            expected, found = vit(image).numpy(), lowered(image).numpy()
        assert snr_db(expected, found) > 90
    after = linear_layers(lowered)
    assert any(not torch.equal(before[name], after[name].weight) for name in before)


def test_what_layers_see_after_equalizing_is_told_without_running_them_again():
    spec = tiny_spec(**WIDE)
    lowered = lower(with_outliers(random_vit(spec, 0)))
    seen, _ = observe(lowered, images(spec))
    told, strengths = equalize(lowered, seen, dict.fromkeys(linear_layers(lowered), "int8"))
    found, _ = observe(lowered, images(spec))
    for name, one in found.items():
        for mine, theirs in (
            (one.mean, told[name].mean),
            (one.low, told[name].low),
            (one.high, told[name].high),
        ):
            assert torch.allclose(mine, theirs, atol=1e-4 * float(one.high.max())), name
    assert max(strengths.values()) > 0  # there is something to smooth


def test_outliers_cost_accuracy_that_equalizing_brings_back():
    spec = tiny_spec(**WIDE)
    vit = with_outliers(random_vit(spec, 0))
    made = [one for _, one in images(spec, seed=3)]
    with torch.no_grad():
        expected = vit(torch.from_numpy(np.stack(made))).numpy()
    lowered = lower(vit)
    naive = graph_of(lowered, spec)
    plan = plainly(lowered, dict.fromkeys(linear_layers(lowered), "int8"))
    quantize(naive, plan, "int8", "portable")
    ours = reduced(vit, QuantizationRequest("int8"))
    gain = snr_db(expected, answers(ours, made)) - snr_db(expected, answers(naive, made))
    assert gain > 3


def test_the_mean_error_of_rounded_weights_stands_in_the_bias():
    spec = tiny_spec(**WIDE)
    lowered = lower(random_vit(spec, 0))
    name = "blocks.1.mlp.contract"
    seen, _ = observe(lowered, images(spec))
    layer, rows = lowered.get_submodule(name), seen[name].rows
    planned = Plan.of({name: layer}, seen, {name: "weights-int4"}).layers[name]
    rounded = torch.from_numpy(planned.weight.restored())
    exact = rows @ layer.weight.T + layer.bias
    corrected = functional.linear(rows, rounded, torch.from_numpy(planned.bias)) - exact
    without = functional.linear(rows, rounded, layer.bias) - exact
    assert corrected.mean(dim=0).abs().mean() < without.mean(dim=0).abs().mean() / 2


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    ("asked", "opset", "least_db"),
    [
        (QuantizationRequest("int8"), 20, 30),
        (QuantizationRequest("int8", "token"), 20, 30),
        (QuantizationRequest("int8-static"), 20, 30),
        (QuantizationRequest("weights-int8"), 20, 30),
        (QuantizationRequest("weights-int4"), 21, 12),
    ],
    ids=["int8", "int8 token", "int8-static", "weights-int8", "weights-int4"],
)
def test_the_runtime_rounds_as_it_was_played(asked, opset, least_db, flavour):
    """The graph in ONNX Runtime, the eager model, and the same rounding in PyTorch."""
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    made = [one for _, one in images(spec, seed=3)]
    model = reduced(vit, asked, flavour, opset)
    found = answers(model, made[:1])
    with torch.no_grad():
        expected = vit(torch.from_numpy(made[0][None])).numpy()
        rounded = _played(vit, asked, flavour, made[0])
    assert snr_db(expected, found) > least_db
    # of weights alone ONNX Runtime rounds what goes in too, by its own choice (MatMulNBits)
    if asked.precision.startswith("weights") and flavour == "portable":
        evaluator = onnx.reference.ReferenceEvaluator(ir.to_proto(model))
        found = evaluator.run(None, {"image": np.stack(made[:1])})[0]
    assert snr_db(rounded, found) > (50 if asked.precision == "weights-int8" else 100)


def _played(vit, asked, flavour, image):
    lowered = lower(vit)
    seen, _ = observe(lowered, images(vit.spec))
    plan = prepare(lowered, asked, flavour, seen, silent)
    with played(lowered, plan):
        return lowered(torch.from_numpy(image[None])).numpy()


@pytest.mark.parametrize("variant", rarely(sorted(VARIANTS), *OFTEN))
def test_every_kind_of_block_is_quantized(variant):
    spec = tiny_spec(**VARIANTS[variant])
    model = reduced(random_vit(spec, 0), QuantizationRequest("int8"))
    layers = linear_layers(lower(random_vit(spec, 0)))
    integer = [node for node in model.graph if node.op_type == "MatMulInteger"]
    assert len(integer) == len(layers)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_integer_products_are_what_the_runtime_makes_of_it(tmp_path):
    """Q and DQ stand where ONNX Runtime fuses them: it computes nothing of the encoder in float."""
    spec = tiny_spec(**WIDE)
    for asked, wanted in (
        (QuantizationRequest("int8"), {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}),
        (QuantizationRequest("int8", "token"), {"MatMulIntegerToFloat"}),
        (QuantizationRequest("int8-static"), {"MatMulIntegerToFloat"}),
    ):
        model = reduced(random_vit(spec, 0), asked)
        proto = ir.to_proto(model)
        proto.ir_version = 10
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(proto.SerializeToString(), options)
        nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
        fused = [node for node in nodes if node.op_type in wanted]
        assert len(fused) == len(linear_layers(lower(random_vit(spec, 0)))), asked
        assert (
            len([node for node in nodes if node.op_type in {"Gemm", "FusedGemm"}]) <= 1
        )  # the head


def test_the_census_tells_what_products_are_done_in():
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    counts = {
        asked.precision: macs_by_dtype(reduced(vit, asked, opset=21).graph)
        for asked in (
            QuantizationRequest("int8"),
            QuantizationRequest("int8-static"),
            QuantizationRequest("weights-int8"),
            QuantizationRequest("weights-int4"),
        )
    }
    wanted = {
        "int8": "int8",
        "int8-static": "int8",
        "weights-int8": "fp32 x int8",
        "weights-int4": "fp32 x int4",
    }
    plain = macs_by_dtype(graph_of(lower(vit), spec).graph)
    for precision, found in counts.items():
        assert next(iter(found)) == wanted[precision]
        assert sum(found.values()) == sum(plain.values())


@pytest.mark.parametrize("precision", ["int8", "int8-static", "fp16", "weights-int8"])
def test_a_graph_that_stayed_in_fp32_is_a_failure(precision):
    model = graph_of(lower(random_vit(tiny_spec(), 0)), tiny_spec())
    with pytest.raises(ProofError, match=f"not {precision}.* in fp32"):
        check_census(model, precision)


def test_a_layer_that_the_graph_does_not_have_is_a_failure():
    lowered = lower(random_vit(tiny_spec(), 0))
    model = graph_of(lowered, tiny_spec())
    layer = plainly(lowered, {"blocks.0.mlp.expand": "int8"}).layers["blocks.0.mlp.expand"]
    plan = Plan(layers={"blocks.7.mlp.expand": layer})
    with pytest.raises(BuildError, match=r"has no blocks\.7\.mlp\.expand"):
        quantize(model, plan, "int8", "portable")


def test_a_layer_of_other_weights_is_a_failure():
    lowered = lower(random_vit(tiny_spec(), 0))
    model = graph_of(lowered, tiny_spec())
    first, *_, last = (n for n in linear_layers(lowered) if n.endswith("attention.projection"))
    layer = plainly(lowered, {last: "int8"}).layers[last]
    with pytest.raises(BuildError, match=r"other weights than were rounded"):
        quantize(model, Plan(layers={first: layer}), "int8", "portable")


def test_looking_at_layers_tells_how_far_it_is():
    told = []
    observe(lower(random_vit(tiny_spec(), 0)), images(tiny_spec(), 4), tell=told.append)
    assert told == [0, 0.25, 0.5, 0.75]


def test_an_activation_that_is_not_finite_is_named():
    spec = tiny_spec()
    vit = random_vit(spec, 0)
    with torch.no_grad():
        vit.blocks[1].mlp.expand.bias[0] = torch.nan
    with pytest.raises(RequestError, match=r"0\.png .*blocks\.1\.mlp\.contract"):
        observe(lower(vit), images(spec))


def test_memory_of_what_is_seen_does_not_grow_with_images():
    spec = tiny_spec()
    lowered = lower(random_vit(spec, 0))
    few, _ = observe(lowered, images(spec, 700))
    assert all(len(one.rows) <= 1024 for one in few.values())


def test_fp16_keeps_norms_and_softmax_in_fp32():
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    model = graph_of(lower(vit), spec)
    reach = halve(model, np.stack([one for _, one in images(spec)]), io=False)
    for node in model.graph:
        island = node.op_type in {"LayerNormalization", "Softmax", "ReduceMean"}
        if island:
            assert node.outputs[0].dtype == ir.DataType.FLOAT, node.name
        elif node.op_type in {"Gemm", "MatMul", "Conv", "Gelu"}:
            assert node.outputs[0].dtype == ir.DataType.FLOAT16, node.name
    assert not reach.kept
    assert 0 < reach.largest < 65504 / 4


def test_fp16_in_an_evaluator_that_rounds_after_every_node():
    """ONNX Runtime computes fp16 in fp32 on x86; the reference evaluator does not."""
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    model = graph_of(lower(vit), spec)
    made = np.stack([one for _, one in images(spec)])
    halve(model, made, io=False)
    found = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"image": made})[0]
    with torch.no_grad():
        assert snr_db(vit(torch.from_numpy(made)).numpy(), found) > 50


def test_what_is_too_large_for_fp16_stays_in_fp32():
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    with torch.no_grad():
        vit.blocks[1].mlp.contract.weight *= 3e5
    model = graph_of(lower(vit), spec)
    made = np.stack([one for _, one in images(spec)])
    reach = halve(model, made, io=False)
    assert any(name.startswith("blocks.1") for name in reach.kept)
    found = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"image": made})[0]
    with torch.no_grad():
        assert snr_db(vit(torch.from_numpy(made)).numpy(), found) > 50


def test_what_a_norm_answers_becomes_fp16_too():
    """The norm itself stays in fp32, and its answer is cast in front of the layer that reads it."""
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    with torch.no_grad():
        vit.blocks[0].mlp_norm.weight[0] *= 1e5
        vit.blocks[0].mlp.expand.weight[:, 0] /= 1e5
    model = graph_of(lower(vit), spec)
    made = np.stack([one for _, one in images(spec)])
    reach = halve(model, made, io=False)
    assert any(name.startswith("blocks.0.mlp.expand") for name in reach.kept)
    assert reach.largest < 65504 / 4
    found = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"image": made})[0]
    with torch.no_grad():
        assert snr_db(vit(torch.from_numpy(made)).numpy(), found) > 50


def test_four_bits_need_whole_blocks():
    assert BLOCK == 32
    spec = tiny_spec()  # 24 wide: no whole block
    lowered = lower(random_vit(spec, 0))
    check_blocks(lowered, QuantizationRequest("weights-int8"))
    with pytest.raises(RequestError, match=r"24 .* blocks of 32"):
        check_blocks(lowered, QuantizationRequest("weights-int4"))
