"""Fewer bits for any module: proven against its own code, and as good as for known families."""

from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
import seed_vit
import timm_models
import torch
from support import mark_slow_except
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from torch import nn

import vit_export
from vit_export.artifact.budget import FP32
from vit_export.core.errors import RequestError
from vit_export.quantization.schemes import Scheme
from vit_export.validation.verdict import RejectedError

SIZE = 64
PHOTOS = Path(vit_export.__file__).parent / "data/photos"
EXAMPLE = torch.zeros(1, 3, SIZE, SIZE)


class Own(nn.Module):
    """Another module and a number that no family has."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.gain = net, nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images) * self.gain


class OddWidths(nn.Module):
    """A convolution, blocks of 32 inputs and one layer of 40, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 4, 4)
        self.twice = nn.Linear(64, 64, bias=False)
        self.norm, self.wide, self.odd = nn.LayerNorm(64), nn.Linear(64, 40), nn.Linear(40, 64)
        self.head = nn.Linear(64, 9)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).mT
        tokens = tokens + self.twice(self.twice(tokens).relu())
        tokens = tokens + self.odd(nn.functional.gelu(self.wide(self.norm(tokens))))
        return self.head(tokens.mean(1))


def einops_vit() -> nn.Module:
    return Own(seed_vit.ViT(emb_size=64, num_heads=4, depth=2, img_size=SIZE, n_classes=9))


def swin() -> nn.Module:
    sizes = {"img_size": SIZE, "patch_size": 4, "window_size": 4, "num_classes": 9}
    return SwinTransformer(**sizes, embed_dim=32, depths=(2, 2), num_heads=(2, 4))


def rotary(**options: object) -> nn.Module:
    sizes = {"img_size": SIZE, "patch_size": 16, "depth": 2, "num_heads": 3, "num_classes": 9}
    return Own(Eva(**sizes, embed_dim=96, use_rot_pos_emb=True, **options))


def eva02() -> nn.Module:
    return rotary(mlp_ratio=8 / 3, swiglu_mlp=True)


def dinov3() -> nn.Module:
    return rotary(init_values=0.1, num_reg_tokens=4, qkv_bias=False, use_abs_pos_emb=False)


MODULES = {"odd": OddWidths, "einops": einops_vit, "swin": swin, "eva02": eva02, "dinov3": dinov3}
PRECISIONS = {
    "weights-int8": {},
    "weights-int4": {"flavour": "onnxruntime"},
    "int8": {},
    "int8 token": {"scales": "token"},
    "int8-static": {"mean": 0.5, "std": 0.5, "resize": f"{SIZE}x{SIZE}"},
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = MODULES[name]().eval().requires_grad_(requires_grad=False)
    for parameter in module.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return module


def export(folder, module, precision, **options):
    options = PRECISIONS.get(precision, {}) | options
    return vit_export.onnx(
        module,
        folder / "module.onnx",
        example=EXAMPLE,
        precision=precision.partition(" ")[0],
        **options,
    )


EVERYDAY = "odd, int8"
CASES = [
    EVERYDAY,
    "odd, weights-int4",
    *(f"swin, {precision}" for precision in PRECISIONS),
    "einops, int8",
    "einops, int8-static",
    "eva02, int8",
    "eva02, weights-int8",
    "dinov3, int8",
    "dinov3, int8 token",
]


@pytest.mark.parametrize("case", mark_slow_except(CASES, EVERYDAY))
def test_a_module_is_proven_in_fewer_bits(tmp_path, case):
    name, precision = case.split(", ")
    photos = {"calibration": PHOTOS} if precision == "int8-static" else {}
    result = export(tmp_path, build(name), precision, **photos)
    assert result.verdict.status == "PROVEN"
    assert 15 < result.verdict.least_snr_db < 70
    inspection = vit_export.inspect(result.path)
    assert inspection.spec is None
    macs = inspection.audit.macs
    assert max(macs, key=macs.__getitem__) != "fp32"


@pytest.mark.slow
def test_all_of_a_vit_is_quantized_on_request(tmp_path):
    result = export(tmp_path, build("einops"), "int8", include=["patches", "head", "attention"])
    assert result.verdict.status == "PROVEN"
    assert set(vit_export.inspect(result.path).audit.macs) == {"int8"}


def time_alike(gemms, schemes, *_):
    """In place of measured times, which take minutes: integers are twice as fast."""
    return {(gemm, name): 2.0 - (name != FP32) for gemm in gemms for name in (FP32, *schemes)}


@pytest.mark.slow
def test_a_search_and_its_repetition_give_one_file(tmp_path, monkeypatch):
    timing = import_module("vit_export.bench.layer_timing")
    monkeypatch.setattr(timing, "time_layers", time_alike)
    first = export(tmp_path, build("odd"), "auto", min_snr=25)
    assert first.verdict.status == "PROVEN"
    assert first.verdict.least_snr_db > 25
    earlier = first.path.rename(tmp_path / "earlier.onnx")
    export(tmp_path, build("odd"), "auto", min_snr=25, plan=earlier)
    initializers = [
        {one.name: one.raw_data for one in onnx.load(path).graph.initializer}
        for path in (earlier, first.path)
    ]
    assert initializers[0] == initializers[1]
    with pytest.raises(RequestError, match=r"has no layer .* to quantize"):
        export(tmp_path, build("einops"), "auto", min_snr=25, plan=earlier)


def test_layers_that_do_not_divide_stay_in_fp32_and_are_named(tmp_path):
    result = export(tmp_path, build("odd"), "weights-int4")
    assert result.origin.kept == {"odd": "40 inputs do not divide into blocks of 32 weights"}


@pytest.mark.slow
def test_most_layers_have_to_divide(tmp_path):
    module = Own(seed_vit.ViT(emb_size=24, num_heads=3, depth=1, img_size=SIZE, n_classes=9))
    with pytest.raises(RequestError, match=r"24 inputs of .* blocks of 32 weights") as caught:
        export(tmp_path, module, "weights-int4")
    assert caught.value.fix == "take weights-int8."


@pytest.mark.slow
def test_a_module_of_convolutions_has_no_layer_to_quantize(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.GELU(), nn.Conv2d(8, 9, 8), nn.Flatten())
    with pytest.raises(RequestError, match=r"no linear layer") as caught:
        export(tmp_path, module, "int8")
    assert caught.value.fix == "take --precision fp32."


@pytest.mark.slow
def test_a_broken_scale_is_rejected(tmp_path, monkeypatch):
    choose = Scheme.choose_params

    def choose_badly(scheme, stats):
        params = choose(scheme, stats)
        return params._replace(scale=params.scale / 16)

    monkeypatch.setattr(Scheme, "choose_params", choose_badly)
    with pytest.raises(RejectedError):
        export(tmp_path, build("einops"), "int8 token")
    assert not (tmp_path / "module.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "weights-int8"])
def test_a_known_vit_gets_as_good_the_general_way(tmp_path, precision):
    """The general way takes keys and values of the last block apart: one layer more."""
    torch.manual_seed(0)
    vit = timm_models.create_model("vit_tiny_patch16_224", img_size=SIZE, depth=3, num_classes=9)
    (tmp_path / "known").mkdir()
    known = export(tmp_path / "known", vit.eval(), precision, **PRECISIONS["int8-static"])
    own = Own(vit).eval()
    own.gain.data.fill_(2)
    ours = export(tmp_path, own, precision, **PRECISIONS["int8-static"])
    audits = [vit_export.inspect(one.path).audit for one in (known, ours)]
    assert vit_export.inspect(ours.path).spec is None
    assert audits[0].macs == audits[1].macs
    worst = [one.verdict.least_snr_db for one in (known, ours)]
    np.testing.assert_allclose(*worst, atol=1.0)
