"""Images of any size and mode become the numbers that other libraries compute."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil

from vit_export import RequestError
from vit_export.data.decode import load_image
from vit_export.data.preprocessing import Preprocessing, preprocess

STEPS = Preprocessing(resize=32, crop=(24, 24), mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
GREY = Preprocessing(mode="L", resize=(28, 28), crop=(28, 28), mean=(0.0,), std=(1.0,))


def gradient(height, width):
    """An image whose pixels all have different colours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 255 // height, x * 255 // width, (x * y) % 256], -1).astype(np.uint8)


def save(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (100, 33), (32, 32), (24, 300), (20, 21)])
def test_numbers_are_those_of_transformers(size):
    """CLIP's processor is somebody else's code: bicubic, shorter side, centre crop, mean and std.

    All margins here are even, since transformers rounds half a pixel down and torchvision to even.
    """
    oracle = CLIPImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 24, "width": 24},
        image_mean=STEPS.mean,
        image_std=STEPS.std,
    )
    image = Image.fromarray(gradient(*size))
    expected = oracle(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(preprocess(image, STEPS), expected, atol=1e-6)


@pytest.mark.parametrize(("width", "left"), [(27, 2), (29, 2), (31, 4), (32, 4)])
def test_half_a_pixel_is_rounded_as_in_torchvision(width, left):
    """CenterCrop begins at round((width - crop) / 2), and Python rounds halves to even."""
    steps = dataclasses.replace(STEPS, resize=(24, width), interpolation="nearest")
    actual = preprocess(Image.fromarray(gradient(24, width)), steps)
    expected = gradient(24, width)[:, left : left + 24].astype(np.float32) / 255
    expected = (expected - np.float32(STEPS.mean)) / np.float32(STEPS.std)
    np.testing.assert_allclose(actual, expected.transpose(2, 0, 1), atol=1e-6)


def test_grey_numbers_by_hand(tmp_path):
    pixels = np.arange(28 * 28).reshape(28, 28).astype(np.uint8)
    path = save(tmp_path, Image.fromarray(pixels))
    actual = preprocess(load_image(path, "L"), dataclasses.replace(GREY, mean=(0.5,), std=(0.25,)))
    np.testing.assert_allclose(actual, (pixels[None] / 255 - 0.5) / 0.25, atol=1e-6)


def to_16_bits(image):
    return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)


def save_as(tmp_path, name, image):
    return save(tmp_path, image, name, **({"lossless": True} if name.endswith("webp") else {}))


MODES = {
    "greyscale": (lambda image: image.convert("L"), "image.png"),
    "palette": (lambda image: image.quantize(64), "image.gif"),
    "alpha": (lambda image: image.convert("RGBA"), "image.webp"),
    "grey with alpha": (lambda image: image.convert("LA"), "image.png"),
    "bilevel": (lambda image: image.convert("1"), "image.bmp"),
    "cmyk": (lambda image: image.convert("CMYK"), "image.tiff"),
    "colour": (lambda image: image, "image.ppm"),
    "ycbcr": (lambda image: image.convert("YCbCr"), "image.tiff"),
    "jpeg": (lambda image: image, "image.jpg"),
}


@pytest.mark.parametrize(("change", "name"), MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_mode_is_read(tmp_path, change, name, mode):
    path = save_as(tmp_path, name, change(Image.fromarray(gradient(40, 40))))
    with Image.open(path) as image:
        expected = image.convert(mode)
    np.testing.assert_array_equal(np.asarray(load_image(path, mode)), np.asarray(expected))


@pytest.mark.parametrize("name", ["image.png", "image.tiff"])
def test_16_bits_are_scaled_not_clipped(tmp_path, name):
    image = Image.fromarray(gradient(40, 40))
    loaded = load_image(save(tmp_path, to_16_bits(image), name), "L")
    np.testing.assert_array_equal(np.asarray(loaded), np.asarray(image.convert("L")))


@pytest.mark.parametrize(("largest", "factor"), [(255, 1), (65535, 257)])
def test_32_bits_hold_8_or_16(tmp_path, largest, factor):
    """The largest value decides whether they stay, as Pillow reads them, or are scaled."""
    grey = Image.fromarray(gradient(40, 40)).convert("L")
    pixels = np.asarray(grey, np.int32) * factor
    pixels[0, 0] = largest
    loaded = load_image(save(tmp_path, Image.fromarray(pixels), "image.tiff"), "L")
    expected = np.array(grey)
    expected[0, 0] = 255
    np.testing.assert_array_equal(np.asarray(loaded), expected)


def test_transparent_palette_keeps_its_colours(tmp_path):
    image = Image.fromarray(gradient(40, 40)).quantize(64)
    path = save(tmp_path, image, transparency=bytes(range(64)))
    np.testing.assert_array_equal(
        np.asarray(load_image(path, "RGB")), np.asarray(image.convert("RGB"))
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.fromarray(gradient(20, 30))
    stored = upright.transpose(turns[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(save(tmp_path, stored, exif=exif), "RGB")
    np.testing.assert_array_equal(np.asarray(loaded), np.asarray(upright))


def write_nothing(path):
    path.write_bytes(b"")


def write_text(path):
    path.write_text("no image at all")


def write_half(path):
    Image.fromarray(gradient(60, 60)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_bomb(path):
    Image.new("1", (9_500, 9_500)).save(path)  # Pillow refuses twice as many, and warns of these


def write_floats(path):
    Image.fromarray(np.ones((8, 8), np.float32)).save(path, format="TIFF")


BAD = {
    "empty": (write_nothing, "is not an image"),
    "text": (write_text, "is not an image"),
    "cut in half": (write_half, "can't be decoded"),
    "bomb": (write_bomb, "decompression bomb"),
    "floats": (write_floats, "can't be decoded"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "missing": (lambda _: None, "no such image"),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD.keys())
def test_a_file_that_is_no_image_is_refused(tmp_path, write, message):
    path = tmp_path / "image.png"
    write(path)
    with pytest.raises(RequestError) as refusal:
        load_image(path, "RGB")
    assert message in refusal.value.message
    assert str(path) in refusal.value.message


def test_an_elongated_image_is_refused():
    with pytest.raises(RequestError, match="too elongated"):
        preprocess(Image.new("RGB", (10_000, 2)), STEPS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize": 0}, "are no sizes"),
        ({"resize": (-16, -16), "crop": (-16, -16)}, "are no sizes"),
        ({"std": (0.5, float("nan"), 0.5)}, "is not finite"),
    ],
)
def test_numbers_that_make_no_sense(changes, message):
    with pytest.raises(RequestError, match=message):
        dataclasses.replace(STEPS, **changes)


@pytest.mark.parametrize("size", [(24, 24), (48, 48), (36, 60)])
def test_preprocessing_for_another_size(size):
    adapted = STEPS.adapt_to(size)
    assert adapted.crop == size
    image = Image.fromarray(gradient(100, 120))
    assert preprocess(image, adapted).shape == (3, *size)
