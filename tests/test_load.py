"""What a request may name: presets, TOML files, live modules, specs with their tensors."""

import pytest
import seed_vit
import torch
from support import SEED_STYLE, tiny_spec
from torch import nn

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.data.sizes import parse_image_size
from vit_export.model.vit.vit import Vit

TINY = "einops_vit_tiny_patch16_224"


@pytest.mark.parametrize(
    ("text", "size"), [("384", (384, 384)), ("384x256", (384, 256)), ("16x8", (16, 8))]
)
def test_image_sizes(text, size):
    assert parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "2x", "x2", "2x3x4", "16,8", "1e3", "016"])
def test_nonsense_image_sizes(text):
    with pytest.raises(RequestError, match="no image size"):
        parse_image_size(text)


def test_a_preset_without_weights_is_random_and_says_so():
    source = load(TINY, seed=3)
    assert (source.provenance.random_weights, source.provenance.weights_from) == (
        True,
        "random, seed 3",
    )


def test_a_preset_with_weights():
    source = load("fashion_mnist")
    assert (source.provenance.random_weights, source.provenance.weights_from) == (
        False,
        "fashion_mnist.safetensors",
    )
    assert len(source.labels) == 10


def test_overrides_are_taken_and_told():
    source = load(TINY, overrides=ModelOverrides(image_size="64x96", classes=7))
    assert (source.vit.spec.image_size, source.vit.spec.classes) == ((64, 96), 7)
    assert source.provenance.overrides == {"image_size": (64, 96), "classes": 7}
    assert source.preprocessing.crop == (64, 96)


def test_the_same_values_are_no_overrides():
    same = ModelOverrides(image_size="28", classes=10)
    assert load("fashion_mnist", overrides=same).provenance.overrides == {}


def test_trained_classes_are_not_bent():
    with pytest.raises(RequestError, match="is for 10 classes, not 11"):
        load("fashion_mnist", overrides=ModelOverrides(classes=11))


@torch.no_grad()
def test_live_modules_are_copied_in_evaluation_mode():
    live = Vit(tiny_spec(dropout=0.5)).train()
    source = load(live)
    assert live.training
    assert not source.vit.training
    image = torch.randn(1, 3, 16, 24)
    assert source.vit(image).equal(live.eval()(image))


def test_a_spec_with_its_tensors():
    spec = tiny_spec(**SEED_STYLE)
    source = load((spec, Vit(spec).state_dict()))
    assert (source.vit.spec, source.provenance.random_weights) == (spec, False)


def test_the_seeds_names_are_renamed():
    seed = seed_vit.ViT(patch_size=8, emb_size=24, img_size=16, depth=2, n_classes=5, num_heads=3)
    spec = tiny_spec(image_size=(16, 16), **SEED_STYLE)
    source = load((spec, seed.state_dict()))
    assert source.vit.embedding.class_token.equal(seed[0].cls_token[0])


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Conv2d(3, 3, 1))])
def test_an_unknown_module_is_refused_with_the_families(model):
    with pytest.raises(RequestError) as refusal:
        load(model)
    assert "einops ViT of the seed document" in refusal.value.fix


@pytest.mark.parametrize("model", [3, [], (1, 2), (tiny_spec(),)])
def test_what_is_no_model(model):
    with pytest.raises(RequestError, match="is not a model"):
        load(model)


def test_a_live_model_has_its_own_weights():
    with pytest.raises(RequestError, match="go with a preset"):
        load(Vit(tiny_spec()), hints=CheckpointHints(heads=3))
    with pytest.raises(RequestError, match="is for 5 classes, not 3"):
        load(Vit(tiny_spec()), overrides=ModelOverrides(classes=3))
