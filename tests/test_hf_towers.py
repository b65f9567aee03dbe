"""Hugging Face folders answer as their own class does: features, tokens, towers and own heads."""

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from support import run, run_json
from test_families import randomize
from torch import nn

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.model.vit.lowering import lower

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 8, "intermediate_size": 50}
DINO = {name: value for name, value in SIZES.items() if name != "intermediate_size"}
TEXT = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "vocab_size": 50}
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
TOKENS = ModelOverrides(outputs=("tokens",))
FEATURES = ModelOverrides(outputs=("features",))


def save(module, folder):
    randomize(module).save_pretrained(folder)
    return module


def change_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def assert_equal(model, expected, images=IMAGES):
    """The eager model answers as expected, and so does the lowered one."""
    with torch.no_grad():
        for module in (model.vit, lower(model.vit)):
            torch.testing.assert_close(module(images), expected, rtol=1e-4, atol=3e-5)


def pair(config, model):
    return model(config(vision_config=SIZES, text_config=TEXT, projection_dim=7))


NO_TEXT_ENDS = {"bos_token_id": None, "eos_token_id": None}
VISION = {
    "ViT": lambda: hf.ViTModel(hf.ViTConfig(**SIZES)),
    "DeiT": lambda: hf.DeiTModel(hf.DeiTConfig(**SIZES)),
    "MSN": lambda: hf.ViTMSNModel(hf.ViTMSNConfig(**SIZES)),
    "DINOv2": lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO)),
    "DINOv2 with registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(**DINO)
    ),
    "CLIP": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**SIZES)),
    "MetaCLIP 2": lambda: hf.MetaClip2VisionModel(hf.MetaClip2VisionConfig(**SIZES)),
    "SigLIP": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**SIZES)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", VISION)
def test_features_and_tokens(tmp_path, name):
    """CLIP's tokens are not normalized; the features of ViT and DeiT have no tanh pooler."""
    answer = save(VISION[name](), tmp_path)(IMAGES)
    tokens = answer.last_hidden_state
    has_tanh = name in {"ViT", "DeiT", "MSN"}
    assert_equal(load(weights=tmp_path), tokens[:, 0] if has_tanh else answer.pooler_output)
    assert_equal(load(weights=tmp_path, overrides=TOKENS), tokens)


PAIRS = {
    "CLIP": lambda: pair(hf.CLIPConfig, hf.CLIPModel),
    "ChineseCLIP": lambda: pair(hf.ChineseCLIPConfig, hf.ChineseCLIPModel),
    "MetaCLIP 2": lambda: pair(hf.MetaClip2Config, hf.MetaClip2Model),
    "CLIPSeg": lambda: pair(hf.CLIPSegConfig, hf.CLIPSegModel),
    "AltCLIP": lambda: pair(hf.AltCLIPConfig, hf.AltCLIPModel),
}


@torch.no_grad()
@pytest.mark.parametrize("name", PAIRS)
def test_towers_of_clip_under_any_model_type(tmp_path, name):
    expected = save(PAIRS[name](), tmp_path).get_image_features(pixel_values=IMAGES)
    assert_equal(load(weights=tmp_path), getattr(expected, "pooler_output", expected))


HEADS = {
    "CLIP": lambda: hf.CLIPForImageClassification(
        hf.CLIPConfig(vision_config=SIZES, text_config=TEXT | NO_TEXT_ENDS, num_labels=5)
    ),
    "MetaCLIP 2": lambda: hf.MetaClip2ForImageClassification(
        hf.MetaClip2Config(vision_config=SIZES, text_config=TEXT | NO_TEXT_ENDS, num_labels=5)
    ),
    "SigLIP without its probe": lambda: hf.SiglipForImageClassification(
        hf.SiglipConfig(
            vision_config=SIZES | {"vision_use_head": False},
            text_config=TEXT | NO_TEXT_ENDS,
            num_labels=5,
        )
    ),
    "I-JEPA": lambda: hf.IJepaForImageClassification(hf.IJepaConfig(**SIZES, num_labels=5)),
    "MSN": lambda: hf.ViTMSNForImageClassification(hf.ViTMSNConfig(**SIZES, num_labels=5)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_classifiers(tmp_path, name):
    expected = save(HEADS[name](), tmp_path)(IMAGES).logits
    assert_equal(load(weights=tmp_path), expected)


HEADLESS = {
    "SigLIP": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**SIZES, vision_use_head=False)),
    "I-JEPA": lambda: hf.IJepaModel(hf.IJepaConfig(**SIZES)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", HEADLESS)
def test_towers_without_a_pool_answer_tokens(tmp_path, name):
    tokens = save(HEADLESS[name](), tmp_path)(IMAGES).last_hidden_state
    assert_equal(load(weights=tmp_path), tokens)
    hints = CheckpointHints(pool="mean")
    assert_equal(load(weights=tmp_path, hints=hints), tokens.mean(1))


def test_a_siglip_that_lost_its_head_is_refused(tmp_path):
    save(VISION["SigLIP"](), tmp_path)
    path = tmp_path / "model.safetensors"
    kept = {name: t for name, t in load_file(path).items() if "head." not in name}
    save_file(kept, path)
    with pytest.raises(RequestError, match="vision_use_head is true"):
        load(weights=tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("name", ["ViTMAEModel", "ViTMAEForPreTraining"])
def test_a_masked_autoencoder_is_read_without_its_mask(tmp_path, name):
    config = hf.ViTMAEConfig(
        **SIZES,
        decoder_hidden_size=24,
        decoder_num_attention_heads=3,
        decoder_num_hidden_layers=1,
    )
    model = save(getattr(hf, name)(config), tmp_path)
    config.mask_ratio = 0.0
    encoder = model.vit if name == "ViTMAEForPreTraining" else model
    order = torch.arange(4.0).expand(2, -1)  # without noise the patches are shuffled
    tokens = encoder(IMAGES, noise=order).last_hidden_state
    loaded = load(weights=tmp_path)
    assert_equal(loaded, tokens[:, 0])
    assert_equal(load(weights=tmp_path, overrides=TOKENS), tokens)
    assert all("patches, in training" in reason for reason in loaded.provenance.unused.values())


@torch.no_grad()
def test_an_image_with_a_rim_as_so400m_has(tmp_path):
    """384 pixels are 27 patches of 14 and six pixels that the convolution leaves out."""
    sizes = SIZES | {"image_size": 30, "patch_size": 14}
    model = save(hf.SiglipVisionModel(hf.SiglipVisionConfig(**sizes)), tmp_path)
    images = torch.randn(2, 3, 30, 30)
    loaded = load(weights=tmp_path)
    assert loaded.signature.image_size == (30, 30)
    assert_equal(loaded, model(images).pooler_output, images)
    larger = load(weights=tmp_path, overrides=ModelOverrides(image_size="47"))
    images = torch.randn(2, 3, 47, 47)
    assert_equal(larger, model(images, interpolate_pos_encoding=True).pooler_output, images)
    assert "the patches cover 28x28 of 30x30 pixels" in loaded.image_notes


@torch.no_grad()
@pytest.mark.parametrize("key", ["vision_config", "vision_config_dict"])
def test_a_vision_config_that_says_little(tmp_path, key):
    """Published files leave out what is the class's own default: 12 heads, QuickGELU, 1e-5."""
    sizes = {"hidden_size": 48, "num_hidden_layers": 1, "image_size": 64, "intermediate_size": 50}
    config = hf.CLIPConfig(vision_config=sizes, text_config=TEXT | NO_TEXT_ENDS, projection_dim=7)
    model = save(hf.CLIPModel(config), tmp_path)
    images = torch.randn(2, 3, 64, 64)
    expected = model.get_image_features(pixel_values=images).pooler_output

    def strip(config):
        full = config.pop("vision_config")
        config[key] = {name: full[name] for name in sizes}
        if key == "vision_config_dict":  # it wins, together with the defaults
            config["vision_config"] = {"num_attention_heads": 6, "hidden_act": "gelu"}

    change_config(tmp_path, strip)
    assert_equal(load(weights=tmp_path), expected, images)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: hf.MLCDVisionModel(hf.MLCDVisionConfig(**SIZES)), "rotary positions are not"),
        (
            lambda: hf.Siglip2VisionModel(
                hf.Siglip2VisionConfig(**{k: v for k, v in SIZES.items() if k != "image_size"})
            ),
            "images of any grid",
        ),
        (
            lambda: hf.CLIPSegForImageSegmentation(
                hf.CLIPSegConfig(vision_config=SIZES, text_config=TEXT | NO_TEXT_ENDS)
            ),
            "names a CLIPSegForImageSegmentation, whose answer is not supported yet",
        ),
    ],
)
def test_what_is_not_supported_is_refused_in_words(tmp_path, module, message):
    module().save_pretrained(tmp_path)
    with pytest.raises(RequestError, match=message):
        load(weights=tmp_path)


@torch.no_grad()
def test_a_backbone_is_refused_and_the_advice_works(tmp_path):
    model = save(hf.Dinov2Backbone(hf.Dinov2Config(**DINO)), tmp_path)
    with pytest.raises(RequestError, match="names a Dinov2Backbone") as refusal:
        load(weights=tmp_path)
    assert "--outputs tokens" in refusal.value.fix
    patches = load(weights=tmp_path, overrides=TOKENS).vit(IMAGES)[:, 1:]
    (maps,) = model(IMAGES).feature_maps  # of its last block, normalized
    torch.testing.assert_close(patches, maps.flatten(2).mT, rtol=1e-4, atol=3e-5)


class Own(nn.Module):
    """A classifier of the user's own over the vectors of a tower."""

    def __init__(self, tower, read, head=None):
        super().__init__()
        self.vit, self.read = tower, read
        self.classifier = head or nn.Linear(24, 5)

    def forward(self, images):
        return self.classifier(self.read(self.vit(images)))


def test_a_pooler_beside_a_classifier_is_a_question(tmp_path):
    model = randomize(Own(VISION["ViT"](), lambda answer: answer.last_hidden_state[:, 0]))
    path = tmp_path / "own.pth"
    torch.save(model.state_dict(), path)
    with pytest.raises(RequestError, match=r"vit\.pooler\.dense.* stands before classifier") as no:
        load(weights=path, hints=CheckpointHints(heads=3))
    assert "--head-from classifier" in no.value.fix
    assert "--outputs features" in no.value.fix
    hints = CheckpointHints(heads=3, head_from="classifier")
    loaded = load(weights=path, hints=hints)
    assert_equal(loaded, model(IMAGES).detach())
    assert "vit.pooler.dense.weight" in loaded.provenance.unused
    assert loaded.provenance.overrides["head_from"] == "classifier"
    features = load(weights=path, hints=CheckpointHints(heads=3), overrides=FEATURES)
    assert_equal(features, model.vit(IMAGES).last_hidden_state[:, 0].detach())


def test_a_class_of_the_library_settles_the_question(tmp_path):
    """ViTForImageClassification ignores a pooler."""
    model = hf.ViTForImageClassification(hf.ViTConfig(**SIZES, num_labels=5))
    save(model, tmp_path)
    path = tmp_path / "model.safetensors"
    pooler = {
        "vit.pooler.dense.weight": torch.ones(24, 24),
        "vit.pooler.dense.bias": torch.ones(24),
    }
    save_file(load_file(path) | pooler, path)
    assert_equal(load(weights=tmp_path), model(IMAGES).logits.detach())


READS = {
    "CLIP": ({"pool": "patch_mean"}, lambda answer: answer.last_hidden_state[:, 1:].mean(1)),
    "SigLIP": ({"pool": "mean"}, lambda answer: answer.last_hidden_state.mean(1)),
}


@pytest.mark.parametrize("name", READS)
def test_what_a_bare_classifier_reads_is_asked(tmp_path, name):
    """The library's classifier and one over pooler_output have the same tensors."""
    hints, mean = READS[name]
    path, tower = tmp_path / "own.pth", VISION[name]()
    for read, changes in ((mean, hints), (lambda a: a.pooler_output, {"head_from": "classifier"})):
        model = randomize(Own(tower, read))
        state = model.state_dict()
        torch.save({n.removeprefix("vit."): t for n, t in state.items()}, path)
        activation = {"CLIP": "quick_gelu", "SigLIP": "gelu_tanh"}[name]
        known = {"heads": 3, "activation": activation}
        with pytest.raises(RequestError, match="no tensor shows") as refusal:
            load(weights=path, hints=CheckpointHints(**known))
        assert all(
            f"--{option.replace('_', '-')} {value}" in refusal.value.fix
            for option, value in changes.items()
        )
        loaded = load(weights=path, hints=CheckpointHints(**known, **changes))
        assert_equal(loaded, model(IMAGES).detach())


def test_a_classifier_of_another_name(tmp_path):
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(24, 5))
    model = randomize(Own(VISION["MSN"](), lambda answer: answer.last_hidden_state[:, 0], head))
    state = {n.replace("classifier.", "fc."): t for n, t in model.state_dict().items()}
    path = tmp_path / "own.pth"
    torch.save(state, path)
    hints = CheckpointHints(heads=3, norm_eps=1e-6, head_from="fc")
    assert_equal(load(weights=path, hints=hints), model(IMAGES).detach())
    with pytest.raises(RequestError, match="no tensor belongs to a module 'fd'") as refusal:
        load(weights=path, hints=CheckpointHints(heads=3, head_from="fd"))
    assert "there are vit, fc" in refusal.value.fix


def test_a_classifier_of_two_layers_is_refused_and_may_be_left_out(tmp_path):
    head = nn.Sequential(nn.Linear(24, 9), nn.GELU(), nn.Linear(9, 5))
    model = randomize(Own(VISION["MSN"](), lambda answer: answer.last_hidden_state[:, 0], head))
    path = tmp_path / "own.pth"
    torch.save(model.state_dict(), path)
    hints = CheckpointHints(heads=3, norm_eps=1e-6, head_from="classifier")
    with pytest.raises(RequestError, match=r"not one linear layer \(classifier\.0") as refusal:
        load(weights=path, hints=hints)
    assert "--outputs features" in refusal.value.fix
    features = load(weights=path, hints=hints, overrides=FEATURES)
    assert_equal(features, model.vit(IMAGES).last_hidden_state[:, 0].detach())


@pytest.fixture
def dinov2(tmp_path):
    """A folder with 70 pixels in config.json and 28 in the image processor, as 518 and 224 are."""
    config = hf.Dinov2Config(**DINO | {"image_size": 70, "patch_size": 14})
    model = save(hf.Dinov2Model(config), tmp_path / "dino")
    hf.BitImageProcessorPil(
        size={"shortest_edge": 33}, crop_size={"height": 28, "width": 28}
    ).save_pretrained(tmp_path / "dino")
    return tmp_path / "dino", model


@torch.no_grad()
def test_dinov2_is_exported_at_the_size_of_its_pipeline(dinov2):
    folder, model = dinov2
    images = {side: torch.randn(2, 3, side, side) for side in (28, 42, 70)}
    for size, side in ((None, 28), ("28", 28), ("42", 42), ("70", 70)):
        loaded = load(weights=folder, overrides=ModelOverrides(image_size=size))
        assert loaded.preprocessing.crop == loaded.signature.image_size == (side, side)
        assert_equal(loaded, model(images[side]).pooler_output, images[side])
        assert bool(loaded.size_note) == (size is None)
        if side == 28:  # the processor's own, not one adapted twice
            assert loaded.preprocessing.resize == 33
    loaded = load(weights=folder)
    assert "config.json says 70x70" in loaded.size_note
    assert "28x28" in loaded.size_note
    assert "--image-size 70x70" in loaded.size_note


@pytest.mark.slow
def test_dinov2_from_end_to_end(dinov2, tmp_path):
    """The command says both sizes, and `validate` rebuilds the model."""
    folder, _ = dinov2
    out = tmp_path / "d.onnx"
    done = run("onnx", "--weights", folder, "--out", out, "-q")
    assert "its config.json says 70x70, which --image-size 70x70 exports" in done.stdout
    assert "28x28" in run("inspect", folder).stdout
    assert run_json("validate", out, "--weights", folder, "-q")["status"] == "PROVEN"


def test_a_vit_of_another_size_than_its_processor(tmp_path):
    """ViT raises on another size unless its caller asks: both sizes are said."""
    save(hf.ViTModel(hf.ViTConfig(**SIZES)), tmp_path / "mine")
    hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "mine")
    loaded = load(weights=tmp_path / "mine")
    assert loaded.signature.image_size == (16, 16)
    assert loaded.image_notes == "that of mine is for 32x32, and was adapted to 16x16"
