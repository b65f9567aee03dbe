"""Files of image processors give the numbers of the processors of `transformers` themselves."""

import contextlib
import json

import numpy as np
import pytest
import timm_models
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from support import run, run_json

from vit_export import RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides, PreprocessingOverrides
from vit_export.data.decode import _to_mode
from vit_export.data.hf_processor import PROCESSORS, parse_processor
from vit_export.data.preprocessing import preprocess

KINDS = {
    "ViT": transformers.ViTImageProcessorPil,
    "Beit": transformers.BeitImageProcessorPil,
    "DeiT": transformers.DeiTImageProcessorPil,
    "CLIP": transformers.CLIPImageProcessorPil,
    "Bit": transformers.BitImageProcessorPil,
    "Siglip": transformers.SiglipImageProcessorPil,
}
SQUARE, CROP = {"height": 16, "width": 16}, {"crop_size": {"height": 16, "width": 16}}
OPTIONS = {
    "ViT": {"size": SQUARE},
    "Beit": {"size": SQUARE},
    "DeiT": {"size": {"height": 21, "width": 21}, **CROP},
    "CLIP": {"size": {"shortest_edge": 16}, **CROP},
    "Bit": {"size": {"shortest_edge": 23}, **CROP},
    "Siglip": {"size": SQUARE},
}
"""Options with which each class makes 16x16 images."""
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


def noise(height, width, seed=0):
    """An image of random colours."""
    shape = (height, width, 3)
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, shape, dtype=np.uint8))


def to_lab(image):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")


def to_32_bits(image):
    return Image.fromarray(np.asarray(image.convert("L"), np.int32))


MODES = {
    mode: (lambda image, mode=mode: image.convert(mode))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV")
}
MODES |= {"PA": lambda image: image.convert("P").convert("PA"), "LAB": to_lab, "I": to_32_bits}


@pytest.mark.parametrize("size", [(37, 61), (101, 33), (16, 17), (19, 170)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_numbers_of_every_mode_are_those_of_transformers(mode, kind, size):
    """The processor of `transformers` converts to RGB, resizes, crops and normalizes."""
    oracle = KINDS[kind](**OPTIONS[kind], do_convert_rgb=True)
    image = MODES[mode](noise(*size))
    assert image.mode == mode
    expected = oracle(image, return_tensors="np")["pixel_values"][0]
    actual = preprocess(_to_mode(image, "RGB"), parse_processor(oracle.to_dict(), "here"))
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_16_bits_are_scaled_where_transformers_clips_them():
    """The one difference is intended: a 16-bit image, clipped at 255 of 65535, would be white."""
    oracle = KINDS["ViT"](**OPTIONS["ViT"], do_convert_rgb=True)
    grey = noise(40, 50).convert("L")
    image = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    steps = parse_processor(oracle.to_dict(), "here")
    expected = oracle(grey, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(preprocess(_to_mode(image, "RGB"), steps), expected, atol=1e-6)
    clipped = oracle(image, return_tensors="np")["pixel_values"][0]
    assert (clipped == 1).mean() > 0.9


def explicit(kind):
    """A file of `kind` with all values, each of them different from the class's default."""
    values = KINDS[kind](
        do_center_crop=True,
        crop_size={"height": 200, "width": 190},
        size={"height": 230, "width": 226} if kind in {"ViT", "DeiT", "Siglip"} else 230,
        resample=0,
        image_mean=MEAN,
        image_std=STD,
    ).to_dict()
    return {name: value for name, value in values.items() if value is not None}


LEFT_OUT = [
    *("size", "crop_size", "resample", "image_mean", "image_std", "rescale_factor"),
    *("do_resize", "do_center_crop", "do_rescale", "do_normalize"),
]


@pytest.mark.parametrize("key", LEFT_OUT)
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_a_file_leaves_out_is_its_classes_default(kind, key):
    values = explicit(kind)
    del values[key]
    if key == "crop_size" and kind in {"ViT", "Siglip"}:  # as it is in `transformers`
        with pytest.raises(RequestError, match="has no crop_size"):
            parse_processor(values, "here")
        return
    image = noise(240, 270)
    expected = KINDS[kind](**values)(image, return_tensors="np")["pixel_values"][0]
    steps = parse_processor(values, "here")
    np.testing.assert_allclose(preprocess(image, steps), expected, atol=1e-6)


@pytest.mark.parametrize("key", LEFT_OUT)
@pytest.mark.parametrize("kind", KINDS)
def test_null_is_what_transformers_makes_of_it_or_refused(kind, key):
    """Its versions differ where the class's own default is no null."""
    values = explicit(kind) | {key: None}
    if key == "crop_size":
        values["do_center_crop"] = False
        values["size"] = {"height": 230, "width": 226}
    image = noise(240, 270)
    try:
        steps = parse_processor(values, "here")
    except RequestError as refusal:
        assert f"{key} is null" in refusal.message  # noqa: PT017 a pass is right too
        return
    expected = KINDS[kind](**values)(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(preprocess(image, steps), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_number_stands_for_every_channel(kind):
    image, values = noise(240, 270), {"image_mean": 0.4, "image_std": 0.3}
    expected = KINDS[kind](**values)(image, return_tensors="np")["pixel_values"][0]
    steps = parse_processor(KINDS[kind](**values).to_dict(), "here")
    np.testing.assert_allclose(preprocess(image, steps), expected, atol=1e-6)
    assert parse_processor(values, "here", kind=kind, channels=4).mean == (0.4,) * 4


@pytest.mark.parametrize("name", ["ImageProcessor", "ImageProcessorFast", "FeatureExtractor"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_nothing_but_its_class(kind, name):
    image = noise(240, 270)
    expected = KINDS[kind]()(image, return_tensors="np")["pixel_values"][0]
    key = "feature_extractor_type" if name == "FeatureExtractor" else "image_processor_type"
    actual = preprocess(image, parse_processor({key: kind + name}, "here"))
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    from_default_class = parse_processor({}, "here", kind=kind)
    np.testing.assert_array_equal(preprocess(image, from_default_class), actual)


OLD = {"do_normalize": True, "do_resize": True, "image_mean": MEAN, "image_std": STD, "resample": 3}
PUBLISHED = {
    "CLIP": OLD | {"crop_size": 16, "do_center_crop": True, "size": 16},
    "DeiT": OLD | {"crop_size": 16, "do_center_crop": True, "size": 21},
    "ViT": OLD | {"size": 16},
    "Beit": OLD | {"size": 16},
    "Bit": OLD | {"crop_size": 16, "do_center_crop": True, "size": 23},
    "Siglip": OLD | {"size": [16, 16]},
}
"""Files as before `transformers` 4.26: one number, which each class reads in its own way."""


@pytest.mark.parametrize("kind", PUBLISHED)
def test_sizes_of_one_number(kind):
    image, values = noise(41, 63), PUBLISHED[kind]
    expected = KINDS[kind](**values)(image, return_tensors="np")["pixel_values"][0]
    steps = parse_processor(values | {"feature_extractor_type": f"{kind}FeatureExtractor"}, "here")
    np.testing.assert_allclose(preprocess(image, steps), expected, atol=1e-6)


NOT_BUILT = {
    "unscaled": ("ViT", {"do_rescale": False}, "not scaled by 1/255"),
    "another scale": ("ViT", {"rescale_factor": 1 / 127.5}, "not scaled by 1/255"),
    "unresized": ("CLIP", {"do_resize": False}, "do_resize is false"),
    "uncropped": ("CLIP", {"do_center_crop": False}, "224 without a crop"),
    "SigLIP of one number": ("Siglip", {"size": 224}, "224 without a crop"),
    "two edges": ("Bit", {"size": {"shortest_edge": 9, "longest_edge": 12}}, "is not supported"),
    "longest edge": ("Bit", {"size": {"longest_edge": 12}}, "is not supported"),
    "padded": ("CLIP", {"size": {"shortest_edge": 200}}, "less than the crop"),
    "another class": ("ConvNext", {}, "is a ConvNextImageProcessor. Known: ViT,"),
    "another filter": ("ViT", {"resample": 4}, "interpolation"),
    "one channel": ("ViT", {"image_mean": [0.5]}, "the model takes 3 channels"),
}


@pytest.mark.parametrize(("kind", "changes", "message"), NOT_BUILT.values(), ids=NOT_BUILT.keys())
def test_a_step_that_is_not_built_is_refused(kind, changes, message):
    with pytest.raises(RequestError) as refusal:
        parse_processor(changes | {"image_processor_type": f"{kind}ImageProcessor"}, "here")
    assert message in refusal.value.message
    assert refusal.value.message.startswith("here")


def test_a_file_without_a_class():
    with pytest.raises(RequestError, match="names no image_processor_type"):
        parse_processor({"size": 16}, "here")


SIZES = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 8, "intermediate_size": 50}


def folder(path, processor=None, **changes):
    """A model for 16x16 images, with the file of a processor beside it."""
    config = transformers.ViTConfig(**SIZES | changes, num_labels=3)
    transformers.ViTForImageClassification(config).save_pretrained(path)
    if processor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def test_one_channel(tmp_path):
    """The processor makes one channel of a grey image; the family has no default for one channel.

    `transformers` does not convert a grey image either.
    """
    oracle = KINDS["ViT"](size=SQUARE, image_mean=[0.3], image_std=[0.6])
    loaded = load(weights=folder(tmp_path, oracle.to_dict(), num_channels=1))
    grey = noise(37, 61).convert("L")
    expected = oracle(grey, return_tensors="np")["pixel_values"][0]
    assert loaded.preprocessing.mode == "L"
    np.testing.assert_allclose(preprocess(grey, loaded.preprocessing), expected, atol=1e-6)


def test_options_replace_a_processor_that_is_not_built(tmp_path):
    """The Fix names them all; some of them are not enough."""
    path = folder(tmp_path, {"image_processor_type": "ConvNextImageProcessor"})
    fields = {"mean": (0.1,), "std": (0.2,), "resize": 20}
    loaded = load(
        weights=path, overrides=ModelOverrides(preprocessing=PreprocessingOverrides(**fields))
    )
    steps = loaded.preprocessing
    assert (steps.mean, steps.std, steps.resize, steps.crop) == (
        (0.1,) * 3,
        (0.2,) * 3,
        20,
        (16, 16),
    )
    assert loaded.preprocessing_note == ""
    del fields["resize"]
    with pytest.raises(RequestError, match="Known: ViT"):
        load(weights=path, overrides=ModelOverrides(preprocessing=PreprocessingOverrides(**fields)))


@pytest.mark.parametrize(
    ("processor", "size"),
    [
        ({"size": 32}, "32x32"),
        ({"size": 40, "do_center_crop": True, "crop_size": 32}, "32x32"),
        ({"size": {"height": 32, "width": 48}}, "32x48"),
    ],
)
def test_a_processor_for_another_size_is_reported(tmp_path, processor, size):
    """The crop keeps its share of the image: a resize to 32 becomes a resize to 16."""
    path = folder(tmp_path / "mine", processor | {"image_processor_type": "ViTImageProcessor"})
    loaded = load(weights=path)
    note = f"that of mine is for {size}, and was adapted to 16x16"
    assert loaded.preprocessing_note == note
    assert loaded.preprocessing.resize == ((20, 20) if "crop_size" in processor else (16, 16))


ODD = st.sampled_from(
    [0, -16, 16, 10**9, 0.5, float("nan"), True, "x", [], {}, [16, 16], [0.5] * 3]
)
ODD |= st.sampled_from([{"height": 0, "width": 9}, {"shortest_edge": 20}, {"shortest_edge": "x"}])
KEYS = st.sampled_from([*LEFT_OUT, "image_processor_type"])


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(kind=st.sampled_from([*KINDS]), changes=st.dictionaries(KEYS, ODD, min_size=1, max_size=4))
def test_files_that_make_no_sense_end_in_one_error(tmp_path, kind, changes):
    """Otherwise the preprocessing makes images of the model's size."""
    if not (tmp_path / "model.safetensors").exists():
        folder(tmp_path)
    values = {"image_processor_type": f"{kind}ImageProcessor", **OPTIONS[kind], **changes}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    with contextlib.suppress(RequestError):  # and nothing else
        assert load(weights=tmp_path).preprocessing.crop == (16, 16)


def test_a_processor_of_transformers_5(tmp_path):
    """One file holds the whole processor; it wins over a preprocessor_config.json beside it."""
    vision = transformers.CLIPVisionConfig(**SIZES)
    transformers.CLIPVisionModel(vision).save_pretrained(tmp_path)
    tokenizer = transformers.CLIPTokenizer(vocab={"<|endoftext|>": 0}, merges=[])
    images = KINDS["CLIP"](**OPTIONS["CLIP"], image_mean=MEAN, image_std=STD)
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
    for _ in range(2):
        loaded = load(weights=tmp_path)
        assert (loaded.preprocessing.mean, loaded.preprocessing_note) == (tuple(MEAN), "")
        KINDS["CLIP"](**OPTIONS["CLIP"]).save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({}, "assumed, the default of timm vision_transformer"),
        ({"mean": (0.5,)}, "assumed, the default of timm vision_transformer"),
        ({"mean": (0.5,), "std": (0.5,), "resize": 16}, ""),
        ({"mean": (0.5,), "std": (0.5,), "share": 0.9}, ""),
    ],
)
def test_an_assumption_is_reported_until_options_replace_it(tmp_path, fields, note):
    model = timm_models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=1, num_heads=3, num_classes=5
    )
    torch.save(model.state_dict(), tmp_path / "w.pth")
    overrides = ModelOverrides(preprocessing=PreprocessingOverrides(**fields))
    loaded = load(weights=tmp_path / "w.pth", hints=CheckpointHints(heads=3), overrides=overrides)
    assert loaded.preprocessing_note == note


def test_a_note_is_printed(tmp_path):
    path, out = folder(tmp_path / "mine"), tmp_path / "mine.onnx"
    report = run_json("onnx", "--weights", path, "--out", out, "-q")
    assert report["preprocessing"] == "assumed, the default of Hugging Face ViT"
    folder(path, {"image_processor_type": "ViTImageProcessor", "size": 32})
    done = run("onnx", "--weights", path, "--out", out, "-q")
    assert "preprocessing: that of mine is for 32x32, and was adapted to 16x16" in done.stdout


def test_every_class_of_processor_is_tested():
    without_pillow = {"DINOv3ViT", "Tipsv2"}  # they resize with torchvision alone
    assert PROCESSORS.keys() - without_pillow == KINDS.keys()
