"""OpenCLIP's folders and files: what open_clip_config.json says, and options in its place."""

import json

import pytest
import torch
from support import expect_error
from test_families import randomize
from timm_models import create_model
from torch import nn

from vit_export import RequestError
from vit_export.checkpoints.from_state_dict import load_vit
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
WIDTH, HEADS = 48, 3
VISION = {"image_size": 32, "layers": 1, "width": WIDTH, "head_width": 16, "patch_size": 8}
STEPS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}
TEXT = {"logit_scale": torch.ones(()), "transformer.resblocks.0.ln_1.bias": torch.ones(9)}


class Block(nn.Module):
    """A residual block of open_clip/transformer.py."""

    def __init__(self, activation, scaled):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, 96), "c_proj": nn.Linear(96, WIDTH)})
        self.activation = activation
        if scaled:
            self.ls_1, self.ls_2 = (
                nn.ParameterDict({"gamma": nn.Parameter(torch.ones(WIDTH))}) for _ in range(2)
            )

    def scale(self, name, x):
        return x * getattr(self, name)["gamma"] if hasattr(self, name) else x

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.scale("ls_1", self.attn(y, y, y, need_weights=False)[0])
        hidden = self.activation(self.mlp["c_fc"](self.ln_2(x)))
        return x + self.scale("ls_2", self.mlp["c_proj"](hidden))


class Tower(nn.Module):
    """open_clip's VisionTransformer, after open_clip/transformer.py."""

    def __init__(self, *, pool="tok", late=False, activation=None, scaled=False, early=True):
        super().__init__()
        v = self.visual = nn.Module()
        self.pool_type, self.late = pool, late
        v.conv1 = nn.Conv2d(3, WIDTH, 8, 8, bias=False)
        v.class_embedding = nn.Parameter(torch.randn(WIDTH))
        v.positional_embedding = nn.Parameter(torch.randn(17, WIDTH))
        if early:
            v.ln_pre = nn.LayerNorm(WIDTH)
        v.transformer = nn.Module()
        v.transformer.resblocks = nn.ModuleList([Block(activation or nn.GELU(), scaled)])
        v.ln_post = nn.LayerNorm(WIDTH)
        v.proj = nn.Parameter(torch.randn(WIDTH, 10))

    def encode(self, images):
        v = self.visual
        x = v.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([v.class_embedding.expand(len(x), 1, -1), x], 1) + v.positional_embedding
        x = v.ln_pre(x) if hasattr(v, "ln_pre") else x
        x = v.transformer.resblocks[0](x)
        return x if self.late else v.ln_post(x)

    def forward(self, images):
        x = self.encode(images)
        x = x[:, 1:].mean(1) if self.pool_type == "avg" else x[:, 0]
        return (self.visual.ln_post(x) if self.late else x) @ self.visual.proj


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


def write_folder(folder, module, vision, **model):
    folder.mkdir(exist_ok=True)
    torch.save({**module.state_dict(), **TEXT}, folder / "open_clip_pytorch_model.bin")
    config = {"embed_dim": 10, "vision_cfg": VISION | vision, "text_cfg": {}, **model}
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps({"model_cfg": config, "preprocess_cfg": STEPS}))
    return folder


TOWERS = {
    "class token": ({}, {}, {}),
    "QuickGELU": ({"activation": quick_gelu}, {}, {"quick_gelu": True}),
    "tanh": (
        {"activation": nn.GELU(approximate="tanh")},
        {"act_kwargs": {"approximate": "tanh"}},
        {},
    ),
    "mean": ({"pool": "avg"}, {"pool_type": "avg"}, {}),
    "mean, then the norm": (
        {"pool": "avg", "late": True},
        {"pool_type": "avg", "final_ln_after_pool": True},
        {},
    ),
    "no first norm": ({"early": False}, {"no_ln_pre": True}, {}),
    "layer scale": ({"scaled": True}, {"ls_init_value": 0.1}, {}),
}


@torch.no_grad()
@pytest.mark.parametrize("name", TOWERS)
def test_a_folder_of_open_clip(tmp_path, name):
    arguments, vision, model = TOWERS[name]
    tower = randomize(Tower(**arguments))
    folder = write_folder(tmp_path / "m", tower, vision, **model)
    loaded = load(weights=folder)
    assert loaded.signature.answer == "features"
    assert not loaded.assumed
    torch.testing.assert_close(loaded.vit(IMAGES), tower(IMAGES), rtol=1e-4, atol=3e-5)
    tokens = load(weights=folder, overrides=ModelOverrides(outputs=("tokens",))).vit(IMAGES)
    torch.testing.assert_close(tokens, tower.encode(IMAGES), rtol=1e-4, atol=3e-5)
    steps = loaded.preprocessing
    assert (list(steps.mean), list(steps.std)) == (STEPS["mean"], STEPS["std"])
    assert (steps.resize, steps.interpolation) == (32, "bilinear")
    again = load_vit(loaded.vit.spec, tower.state_dict(), "the weights")  # as validate does
    torch.testing.assert_close(again(IMAGES), tower(IMAGES), rtol=1e-4, atol=3e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("arguments", "pool"),
    [({"pool": "avg"}, "patch_mean"), ({"pool": "avg", "late": True}, "patch_mean_norm")],
)
def test_a_bare_file_is_told_by_options(tmp_path, arguments, pool):
    """The pool is asked for, since no tensor shows it."""
    tower = randomize(Tower(**arguments))
    torch.save(tower.state_dict(), tmp_path / "oc.pt")
    hints = {"heads": HEADS, "activation": "gelu"}
    with pytest.raises(RequestError, match="don't show pool") as refusal:
        load(weights=tmp_path / "oc.pt", hints=CheckpointHints(**hints))
    assert f"|{pool}" in refusal.value.fix
    loaded = load(weights=tmp_path / "oc.pt", hints=CheckpointHints(**hints, pool=pool))
    assert "pool" not in loaded.assumed
    torch.testing.assert_close(loaded.vit(IMAGES), tower(IMAGES), rtol=1e-4, atol=3e-5)


def test_a_norm_behind_the_pool_is_of_open_clip_alone(tmp_path):
    model = create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=2)
    torch.save(model.state_dict(), tmp_path / "t.pth")
    request = ["--weights", tmp_path / "t.pth", "--heads", "3", "--pool", "patch_mean_norm"]
    message = expect_error("onnx", *request, "--out", tmp_path / "t.onnx", exit_code=2)
    assert "patch_mean_norm is of OpenCLIP's towers" in message
    assert "Fix: give --pool patch_mean." in message


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        ({"pool_type": "none"}, "pool_type 'none' of open_clip is not supported yet"),
        ({"qk_norm": True}, "qk_norm of open_clip is not supported yet"),
        ({"attentional_pool": True}, "attentional_pool of open_clip"),
        ({"act_kwargs": {"approximate": "fast"}}, "activation, 'gelu of fast', is not"),
        ({"head_width": "wide"}, "unexpected structure"),
    ],
)
def test_what_open_clip_has_besides_is_refused(tmp_path, vision, message):
    folder = write_folder(tmp_path / "m", Tower(), vision)
    with pytest.raises(RequestError, match=message):
        load(weights=folder)


@torch.no_grad()
def test_a_tower_of_timm_inside(tmp_path):
    name = "vit_base_patch16_siglip_224"
    tower = nn.Module()
    tower.visual = nn.Module()
    trunk = tower.visual.trunk = create_model(name, depth=1, img_size=32, num_classes=0)
    randomize(tower)
    vision = {"timm_model_name": name, "timm_pool": "map", "timm_proj": "none"}
    folder = write_folder(tmp_path / "m", tower, vision)
    loaded = load(weights=folder)
    torch.testing.assert_close(loaded.vit(IMAGES), trunk(IMAGES), rtol=1e-3, atol=1e-3)
    assert list(loaded.preprocessing.mean) == STEPS["mean"]
    tower.visual.head = nn.ModuleDict({"proj": nn.Linear(768, 10, bias=False)})
    write_folder(folder, tower, vision | {"timm_proj": "linear"})
    with pytest.raises(RequestError, match="projection of open_clip") as refusal:
        load(weights=folder)
    assert "--prefix visual.trunk." in refusal.value.fix
    features = load(weights=folder, hints=CheckpointHints(prefix="visual.trunk."))
    torch.testing.assert_close(features.vit(IMAGES), trunk(IMAGES), rtol=1e-3, atol=1e-3)
