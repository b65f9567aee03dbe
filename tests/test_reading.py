"""What confirms a reading stands in the verdict, the manifest, the report and JSON."""

import json

import onnx
import pytest
import torch
import transformers
from test_libraries import SIZES, TEXT, TIMM, randomize
from timm_models import VisionTransformer
from torch import nn

import vit_export
from vit_export import RequestError, VitExportError
from vit_export.checkpoints.load import load
from vit_export.cli.render.blocks import Line
from vit_export.cli.render.verdict import describe_verdict
from vit_export.validation.reading import check_reading

KEY = "vit_export"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("reading")
    config = transformers.ViTConfig(**SIZES, num_labels=3)
    randomize(transformers.ViTForImageClassification(config)).save_pretrained(root / "m")
    result = vit_export.onnx(None, root / "f.onnx", weights=root / "m", batch="1", check="require")
    return root, result


@pytest.mark.slow
def test_the_verdict_the_manifest_and_the_report_name_the_library(exported, tmp_path):
    root, result = exported
    phrase = f"checked against transformers {transformers.__version__}"
    assert result.verdict.reading == result.verdict.to_mapping()["reading"] == phrase
    lines = [str(block) for block in describe_verdict(result.verdict) if isinstance(block, Line)]
    assert any(f"reading: {phrase}" in one for one in lines)
    assert vit_export.inspect(root / "f.onnx").metadata["reading"] == phrase
    verdict = vit_export.validate(root / "f.onnx", report=tmp_path / "r.html")
    assert verdict.reading == phrase
    assert phrase in (tmp_path / "r.html").read_text()


def edit(source, target, change):
    model = onnx.load(source)
    entry = next(one for one in model.metadata_props if one.key == KEY)
    manifest = json.loads(entry.value)
    change(manifest)
    entry.value = json.dumps(manifest)
    onnx.save(model, target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize(("field", "value"), [("pool", "mean"), ("heads", 6)])
def test_a_manifest_of_another_model_is_refuted_by_the_library(field, value, exported, tmp_path):
    """The file's own spec is a claim, also where its answers were edited to fit."""
    root, _ = exported
    forged = edit(root / "f.onnx", tmp_path / "g.onnx", lambda m: m["spec"].update({field: value}))
    verdict = vit_export.validate(forged, weights=root / "m")
    assert verdict.status == "REJECTED"
    assert any("read as another model than ViTFor" in one for one in verdict.problems)
    assert verdict.reading == "refuted"


@pytest.mark.slow
def test_a_validation_by_the_library_is_not_the_files_claim(exported, tmp_path):
    root, _ = exported
    lying = edit(root / "f.onnx", tmp_path / "g.onnx", lambda m: m.update(reading="checked by all"))
    phrase = vit_export.validate(lying, weights=root / "m", check="off").reading
    assert phrase == "by vit-export alone, with --check off"


@pytest.mark.slow
def test_hints_need_weights(exported):
    with pytest.raises(RequestError, match="no checkpoint for --arch"):
        vit_export.validate(exported[0] / "f.onnx", arch="timm:vit_tiny_patch16_224")


class Wrapper(nn.Module):
    """A user's own module around a known model."""

    def __init__(self, inner, after=None):
        super().__init__()
        self.net, self.after = inner, after or nn.Identity()

    def forward(self, image):
        answer = self.net(image)
        return self.after(getattr(answer, "logits", answer))


class OwnHead(nn.Module):
    """The class token of ViTModel through a layer of the user's."""

    def __init__(self):
        super().__init__()
        self.vit = transformers.ViTModel(transformers.ViTConfig(**SIZES))
        self.classifier = nn.Linear(48, 5)

    def forward(self, image):
        return self.classifier(self.vit(pixel_values=image).last_hidden_state[:, 0])


def build_timm(**changes):
    return VisionTransformer(**{**TIMM, "num_classes": 4, **changes})


def build_clip():
    config = transformers.CLIPConfig(vision_config=SIZES, text_config=TEXT, projection_dim=10)
    return transformers.CLIPModel(config)


ACCEPTED = {
    "own head": OwnHead,
    "wrapped ViT": lambda: Wrapper(
        transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES, num_labels=3))
    ),
    "wrapped timm": lambda: Wrapper(build_timm()),
    "Sequential": lambda: nn.Sequential(build_timm()),
    "DataParallel": lambda: nn.DataParallel(build_timm()),
    "CLIPModel": build_clip,
    "ViTMAE": lambda: transformers.ViTMAEModel(transformers.ViTMAEConfig(**SIZES)),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_live_module_is_read_as_the_known_model_inside_it(name):
    module = randomize(ACCEPTED[name]())
    loaded = load(module, check_reading=check_reading)
    assert loaded.reading == "checked against the module itself"
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        if name == "CLIPModel":
            expected = module.get_image_features(pixel_values=image).pooler_output
        elif name == "ViTMAE":
            module.config.mask_ratio = 0.0
            expected = module(pixel_values=image).last_hidden_state[:, 0]
        else:
            expected = module(image)
        expected = getattr(expected, "logits", expected)
        torch.testing.assert_close(loaded.vit(image), expected, rtol=1e-4, atol=1e-4)


REFUSED = {
    "softmax behind it": (
        lambda: Wrapper(build_timm(), nn.Softmax(-1)),
        "computes something else",
        "'net'",
    ),
    "a head of its own on timm": (
        lambda: Wrapper(build_timm(num_classes=0), nn.Linear(48, 3)),
        "computes something else",
        "'net'",
    ),
    "feature maps": (
        lambda: transformers.Dinov2Backbone(transformers.Dinov2Config(**SIZES)),
        "feature maps",
        "base model",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_live_module_that_does_more_is_refused(name):
    build, message, fix = REFUSED[name]
    module = randomize(build())
    with pytest.raises(RequestError, match=message) as refusal:
        load(module, check_reading=check_reading)
    assert fix in refusal.value.fix
    if "net" in fix:  # what the fix says works
        part = module.get_submodule("net")
        assert load(part, check_reading=check_reading).reading


SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SMALL |= {"intermediate_size": 50, "image_size": 32, "patch_size": 8}
MOST_PARAMETERS = 5_000_000


def list_image_classes():
    from transformers.models.auto import modeling_auto as auto

    tables = [
        auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_BACKBONE_MAPPING_NAMES,
        auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES,
    ]
    values = [value for table in tables for value in table.values()]
    names = {name for one in values for name in ((one,) if isinstance(one, str) else one)}
    return sorted(names)


def build_small(name):
    """Return a small model of a class of transformers; None where no small one can be built."""
    try:
        kind = getattr(transformers, name)
        config = kind.config_class
        nested = "vision_config" in getattr(config, "sub_configs", {})
        values = config(vision_config=SMALL) if nested else config(**SMALL)
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in kind(values).parameters())
        return randomize(kind(values)) if count <= MOST_PARAMETERS else None
    except Exception:  # noqa: BLE001 a class may need packages or other sizes
        return None


def judge_live(module):
    """Return the reading, or the fix of a refusal; any other error goes through."""
    try:
        return load(module, check_reading=check_reading).reading
    except VitExportError as refusal:
        return refusal.fix


@pytest.mark.slow
@pytest.mark.parametrize("first", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
def test_every_image_class_in_memory_is_right_or_refused(first):
    """A refusal names no option, which a module in memory does not take."""
    for name in [name for name in list_image_classes() if name.startswith(first)]:
        module = build_small(name)
        if module is not None:
            assert "--" not in judge_live(module), name
