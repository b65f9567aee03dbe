"""Layers that get a scale for each token, because some tokens are much larger than the others."""

import pytest
import torch
from support import tiny_spec
from test_quantize import WIDE, answers, graph_of, images

from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.module_session import ModuleSession
from vit_export.core.numerics import snr_db
from vit_export.core.progress import silent
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.convert import quantize
from vit_export.quantization.fake_quant import played
from vit_export.quantization.observer import Observed, observe
from vit_export.quantization.per_token import by_token
from vit_export.quantization.plan import Plan
from vit_export.quantization.prepare import prepare

FINER = {
    "int8": "int8-token-zero-point",
    "int8-static": "int8-token",
    "int8-static-zero-point": "int8-token-zero-point",
}
TIMES = 50
LAYER = "blocks.1.mlp.contract"
SPEC = tiny_spec(**WIDE, pool="patch_mean")  # what coarse ranges cost, patches pay


def rows(count=32, large=(), seed=0):
    """(count, 16) of like size, but for those that are `TIMES` as large."""
    found = 2 * torch.rand(count, 16, generator=torch.Generator().manual_seed(seed)) - 1
    found[list(large)] *= TIMES
    return found


def chosen(scheme, *by_image):
    seen = Observed(images=len(by_image))
    for image in by_image:
        seen.add(image)
    layer = torch.nn.Linear(16, 8)
    return by_token({"layer": layer}, {"layer": seen}, {"layer": scheme})["layer"]


@pytest.mark.parametrize("scheme", FINER)
def test_tokens_of_one_size_share_a_scale(scheme):
    assert chosen(scheme, rows()) == scheme


@pytest.mark.parametrize("scheme", FINER)
def test_a_token_that_is_much_larger_gives_each_its_own(scheme):
    assert chosen(scheme, rows(large=[3])) == FINER[scheme]


@pytest.mark.parametrize("scheme", ["int8-token", "weights-int8", "weights-int4"])
def test_what_has_no_range_for_all_stays(scheme):
    assert chosen(scheme, rows(large=[3])) == scheme


@pytest.mark.parametrize(("scheme", "finer"), [("int8", False), ("int8-static", True)])
def test_at_run_time_a_large_image_does_not_coarsen_the_others(scheme, finer):
    found = chosen(scheme, rows(), rows(seed=1), rows(large=range(32), seed=2))
    assert (found == FINER[scheme]) == finer


def massive(vit):
    """The same but for a number in block 1, large for the class token and zero for patches."""
    with torch.no_grad():
        block = vit.blocks[1]
        normed = []
        hook = block.mlp_norm.register_forward_hook(lambda *told: normed.append(told[2]))
        vit(torch.stack([torch.from_numpy(image) for _, image in images(vit.spec)]))
        token = normed[0][:, 0].mean(dim=0)
        block.mlp.expand.weight[0] = 4 * token
        block.mlp.expand.bias[0] = -2 * token @ token
        block.mlp.contract.weight[:, 0] /= 100
    hook.remove()
    return vit


@pytest.mark.parametrize("flavour", ["portable", "onnxruntime"])
@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_a_massive_activation_is_found_and_the_runtime_rounds_as_it_was_played(precision, flavour):
    vit = massive(random_vit(SPEC, 0))
    lowered = lower(vit)
    seen, _ = observe(lowered, images(vit.spec))
    exact = answers(graph_of(lower(vit), vit.spec), [image for _, image in images(vit.spec)][:1])
    plan = prepare(lowered, QuantizationRequest(precision), flavour, dict(seen), silent)
    assert "token" in plan.schemes[LAYER]
    if precision == "int8":
        assert set(plan.schemes.values()) == {"int8", "int8-token-zero-point"}
    model = graph_of(lowered, vit.spec, flavour=flavour)
    quantize(model, plan, precision, flavour)
    image = images(vit.spec)[0][1]
    found = answers(model, [image])
    with played(lowered, plan) as module:
        assert snr_db(ModuleSession(module).run(image[None]), found) > 100
    assert snr_db(exact, found) > 25


def test_one_scale_for_all_would_cost_much_there():
    vit = massive(random_vit(SPEC, 0))
    lowered = lower(vit)
    seen, _ = observe(lowered, images(vit.spec))
    made = torch.stack([torch.from_numpy(image) for _, image in images(vit.spec)])
    exact = lowered(made[:1]).detach().numpy()
    layers = {LAYER: lowered.get_submodule(LAYER)}

    def snr(scheme):
        with played(lowered, Plan.of(layers, seen, {LAYER: scheme})) as module:
            return snr_db(exact, module(made[:1]).detach().numpy())

    assert snr("int8-token-zero-point") > snr("int8") + 6
