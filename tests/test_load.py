"""A request may name a preset, a TOML file, a module in memory, or a spec with its tensors."""

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
def test_text_that_is_no_image_size(text):
    with pytest.raises(RequestError, match="no image size"):
        parse_image_size(text)


def test_a_preset_without_weights_is_random_and_says_so():
    loaded = load(TINY, seed=3)
    assert (loaded.provenance.random_weights, loaded.provenance.weights_from) == (
        True,
        "random, seed 3",
    )


def test_a_preset_with_weights():
    loaded = load("fashion_mnist")
    assert (loaded.provenance.random_weights, loaded.provenance.weights_from) == (
        False,
        "fashion_mnist.safetensors",
    )
    assert len(loaded.labels) == 10


def test_overrides_are_applied_and_recorded():
    loaded = load(TINY, overrides=ModelOverrides(image_size="64x96", classes=7))
    assert (loaded.vit.spec.image_size, loaded.vit.spec.classes) == ((64, 96), 7)
    assert loaded.provenance.overrides == {"image_size": (64, 96), "classes": 7}
    assert loaded.preprocessing.crop == (64, 96)


def test_equal_values_are_no_overrides():
    same = ModelOverrides(image_size="28", classes=10)
    assert load("fashion_mnist", overrides=same).provenance.overrides == {}


def test_the_number_of_trained_classes_can_not_change():
    with pytest.raises(RequestError, match="is for 10 classes, not 11"):
        load("fashion_mnist", overrides=ModelOverrides(classes=11))


@torch.no_grad()
def test_a_module_in_memory_is_copied_in_evaluation_mode():
    module = Vit(tiny_spec(dropout=0.5)).train()
    loaded = load(module)
    assert module.training
    assert not loaded.vit.training
    image = torch.randn(1, 3, 16, 24)
    assert loaded.vit(image).equal(module.eval()(image))


def test_a_spec_with_its_tensors():
    spec = tiny_spec(**SEED_STYLE)
    loaded = load((spec, Vit(spec).state_dict()))
    assert (loaded.vit.spec, loaded.provenance.random_weights) == (spec, False)


def test_a_spec_with_the_seeds_own_names():
    seed = seed_vit.ViT(patch_size=8, emb_size=24, img_size=16, depth=2, n_classes=5, num_heads=3)
    spec = tiny_spec(image_size=(16, 16), **SEED_STYLE)
    loaded = load((spec, seed.state_dict()))
    assert loaded.vit.embedding.class_token.equal(seed[0].cls_token[0])


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Conv2d(3, 3, 1))])
def test_an_unknown_module_is_refused_with_the_families(model):
    with pytest.raises(RequestError) as refusal:
        load(model)
    assert "einops ViT of the seed document" in refusal.value.fix


@pytest.mark.parametrize("model", [3, [], (1, 2), (tiny_spec(),)])
def test_an_object_that_is_no_model(model):
    with pytest.raises(RequestError, match="is not a model"):
        load(model)


def test_a_module_in_memory_has_its_own_weights():
    with pytest.raises(RequestError, match="has its own weights"):
        load(Vit(tiny_spec()), hints=CheckpointHints(heads=3))
    with pytest.raises(RequestError, match="is for 5 classes, not 3"):
        load(Vit(tiny_spec()), overrides=ModelOverrides(classes=3))
