"""Files whose names are timm's, of other code that resamples positions in its own way."""

import pytest
import timm_models
import torch
from torch.nn import functional

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
HINTS = CheckpointHints(heads=3)
LARGER = ModelOverrides(image_size="48x40")


def resample(positions, **target):
    """As DINO's `interpolate_pos_encoding` and MAE's `interpolate_pos_embed` do."""
    patches = positions[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    patches = functional.interpolate(patches, **target, mode="bicubic", align_corners=False)
    return torch.cat([positions[0, :1], patches[0].permute(1, 2, 0).flatten(0, 1)])


DINO = {"scale_factor": (6.1 / 4, 5.1 / 4)}
CODES = {
    "DINO": ({"head.last_layer.weight_v": (9, 24), "head.mlp.0.weight": (9, 24)}, DINO),
    "iBOT": ({"masked_embed": (1, 24)}, DINO),
    "MAE": ({"decoder_pos_embed": (1, 17, 8), "mask_token": (1, 1, 8)}, {"size": (6, 5)}),
}


def save(path, more=()):
    torch.manual_seed(0)
    model = timm_models.create_model("vit_tiny_patch16_224", **SIZES, num_classes=0)
    state = model.state_dict() | {name: torch.ones(shape) for name, shape in dict(more).items()}
    torch.save(state, path)
    return model.pos_embed.detach()


@pytest.mark.parametrize("name", CODES)
def test_what_training_left_shows_whose_positions_they_are(tmp_path, name):
    more, target = CODES[name]
    positions = save(tmp_path / "w.pth", more)
    loaded = load(weights=tmp_path / "w.pth", hints=HINTS, overrides=LARGER)
    expected = resample(positions, **target)
    torch.testing.assert_close(loaded.vit.embedding.positions, expected)


def test_another_size_is_a_question_where_nothing_shows_it(tmp_path):
    path = tmp_path / "w.pth"
    save(path)
    assert load(weights=path, hints=HINTS).vit.spec.image_size == (32, 32)
    with pytest.raises(RequestError, match="timm, DINO and MAE share the names") as refusal:
        load(weights=path, hints=HINTS, overrides=LARGER)
    assert "--arch timm:NAME" in refusal.value.fix


def test_the_architecture_of_timm_settles_it(tmp_path):
    path = tmp_path / "w.pth"
    model = timm_models.create_model("vit_tiny_patch16_224", num_classes=0)
    torch.save(model.state_dict(), path)
    hints = CheckpointHints(arch="timm:vit_tiny_patch16_224")
    loaded = load(weights=path, hints=hints, overrides=ModelOverrides(image_size="160"))
    expected = timm_models.resample_abs_pos_embed(model.pos_embed, [10, 10], num_prefix_tokens=1)
    torch.testing.assert_close(loaded.vit.embedding.positions, expected[0].detach())


PRESET = "vit_small_patch16_224"


@pytest.mark.parametrize("changes", [{"init_values": 0.1}, {"pre_norm": True}])
def test_a_preset_of_another_kind_completes_nothing(tmp_path, changes):
    """DeiT-III and CLIP have their own mean, std and activation."""
    model = timm_models.create_model(PRESET, num_classes=5, **changes)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    with pytest.raises(RequestError, match=f"does not fit {PRESET}: ") as refusal:
        load(PRESET, weights=tmp_path / "w.pth")
    assert "leave --model out" in refusal.value.fix
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path / "w.pth")
    assert ("--model" in refusal.value.fix) == ("init_values" in changes)  # no preset is a CLIP
