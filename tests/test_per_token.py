"""Per-token scales: layers with outlier tokens get them, all others keep one range."""

import pytest
import torch
from quantized_models import (
    WIDE,
    make_batch,
    make_graph,
    make_images,
    make_plan_for,
    run_eager,
    run_graph,
)
from support import snr_db, tiny_spec

from vit_export.artifact.precision import QuantizationRequest
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.convert import quantize
from vit_export.quantization.fake_quant import fake_quantize
from vit_export.quantization.observer import Observer, collect_stats
from vit_export.quantization.per_token import use_per_token_scales
from vit_export.quantization.plan import QuantizationPlan, plan_layers

OUTLIER_SCHEMES = {
    "int8": "int8-token-zero-point",
    "int8-static": "int8-token",
    "int8-static-zero-point": "int8-token-zero-point",
}
FACTOR = 50
LAYER = "blocks.1.mlp.contract"
SPEC = tiny_spec(**WIDE, pool="patch_mean")  # a coarse range costs the patches most


def make_rows(count=32, outliers=(), seed=0):
    """Rows (count, 16) of similar size, with outliers `FACTOR` times as large."""
    rows = 2 * torch.rand(count, 16, generator=torch.Generator().manual_seed(seed)) - 1
    rows[list(outliers)] *= FACTOR
    return rows


def choose_scheme(scheme, *images):
    observer = Observer(images=len(images))
    for rows in images:
        observer.add(rows)
    layers, stats = {"layer": torch.nn.Linear(16, 8)}, {"layer": observer.read_stats()}
    return use_per_token_scales(layers, stats, {"layer": scheme})["layer"]


@pytest.mark.parametrize("scheme", OUTLIER_SCHEMES)
def test_tokens_of_similar_size_share_a_scale(scheme):
    assert choose_scheme(scheme, make_rows()) == scheme


@pytest.mark.parametrize("scheme", OUTLIER_SCHEMES)
def test_an_outlier_gives_each_token_a_scale(scheme):
    assert choose_scheme(scheme, make_rows(outliers=[3])) == OUTLIER_SCHEMES[scheme]


@pytest.mark.parametrize("scheme", ["int8-token", "weights-int8", "weights-int4"])
def test_schemes_without_a_common_range_stay(scheme):
    assert choose_scheme(scheme, make_rows(outliers=[3])) == scheme


@pytest.mark.parametrize(("scheme", "per_token"), [("int8", False), ("int8-static", True)])
def test_a_large_image_coarsens_the_others_in_a_static_range_only(scheme, per_token):
    images = make_rows(), make_rows(seed=1), make_rows(outliers=range(32), seed=2)
    assert (choose_scheme(scheme, *images) == OUTLIER_SCHEMES[scheme]) == per_token


def add_massive_activation(vit):
    """The model with a number in block 1 that is large for the class token, zero for patches."""
    with torch.no_grad():
        block = vit.blocks[1]
        outputs = []
        hook = block.mlp_norm.register_forward_hook(lambda *call: outputs.append(call[2]))
        vit(torch.from_numpy(make_batch(vit.spec)))
        token = outputs[0][:, 0].mean(dim=0)
        block.mlp.expand.weight[0] = 4 * token
        block.mlp.expand.bias[0] = -2 * token @ token
        block.mlp.contract.weight[:, 0] /= 100
    hook.remove()
    return vit


@pytest.mark.parametrize("flavour", ["portable", "onnxruntime"])
@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_a_layer_with_a_massive_activation_gets_per_token_scales(precision, flavour):
    """The runtime rounds as fake quantization does, and the answers stay close."""
    vit = add_massive_activation(random_vit(SPEC, 0))
    image = make_batch(SPEC, 1)
    exact = run_graph(make_graph(lower(vit), SPEC), image)
    lowered, plan = make_plan_for(vit, QuantizationRequest(precision), flavour)
    assert "token" in plan.schemes[LAYER]
    if precision == "int8":
        assert set(plan.schemes.values()) == {"int8", "int8-token-zero-point"}
    model = make_graph(lowered, SPEC, flavour=flavour)
    quantize(model, plan, precision, flavour)
    answer = run_graph(model, image)
    with fake_quantize(lowered, plan) as module:
        assert snr_db(run_eager(module, image), answer) > 100
    assert snr_db(exact, answer) > 25


def test_one_scale_for_all_tokens_would_cost_much_there():
    lowered = lower(add_massive_activation(random_vit(SPEC, 0)))
    stats, _ = collect_stats(lowered, make_images(SPEC))
    image = make_batch(SPEC, 1)
    exact = run_eager(lowered, image)
    layers = {LAYER: lowered.get_submodule(LAYER)}

    def measure(scheme):
        plan = QuantizationPlan(layers=plan_layers(layers, stats, {LAYER: scheme}))
        with fake_quantize(lowered, plan) as module:
            return snr_db(exact, run_eager(module, image))

    assert measure("int8-token-zero-point") > measure("int8") + 6
