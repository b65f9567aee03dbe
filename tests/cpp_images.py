"""Image files that a C++ project reads as Pillow does, and files that it refuses."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from support import ROOT

PHOTO = ROOT / "vit_export" / "data" / "photos" / "cat.png"


def save_turned(path, orientation=6):
    """Save an image with an orientation in its EXIF data."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    open_photo((20, 30)).save(path, exif=exif)


def save_with_xmp(path, mark):
    """Save an image with an orientation in XMP, as an attribute or as an element."""
    text = f"<rdf:Description {mark}</rdf:Description>"
    if path.suffix == ".jpg":
        open_photo((20, 30)).save(path, xmp=text.encode())
        return
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", text)
    open_photo((20, 30)).save(path, pnginfo=chunks)


def save_with_exif_as_text(path):
    """Save an image with an orientation in EXIF data as ImageMagick writes it."""
    exif, chunks = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    chunks.add_text("Raw profile type exif", f"\nexif\n{99:8}\n{exif.tobytes().hex()}\n", zip=True)
    open_photo((20, 30)).save(path, pnginfo=chunks)


def open_photo(size):
    with Image.open(PHOTO) as image:
        return image.resize(size)


BAD_IMAGES = {
    "text.png": lambda path: path.write_text("no image"),
    "empty.jpg": lambda path: path.write_bytes(b""),
    "cut.png": lambda path: path.write_bytes(PHOTO.read_bytes()[:5000]),
    "cut.ppm": lambda path: path.write_bytes(b"P6 20 20 255\n" + bytes(1199)),
    "cut.jpg": lambda path: path.write_bytes(encode_jpeg()[: len(encode_jpeg()) // 2]),
    "dark.ppm": lambda path: path.write_bytes(b"P5 2 2 15\n" + bytes(4)),
    "deep.png": lambda path: Image.fromarray(np.zeros((9, 9), np.uint16)).save(path),
    "bare.pgm": lambda path: path.write_bytes(b"P5 2 3 255"),
    "turned.jpg": save_turned,
    "turned.png": save_turned,
    "attribute.jpg": lambda path: save_with_xmp(path, 'tiff:Orientation="6">'),
    "element.jpg": lambda path: save_with_xmp(path, "><tiff:Orientation>8</tiff:Orientation>"),
    "attribute.png": lambda path: save_with_xmp(path, 'tiff:Orientation="3">'),
    "text_of_exif.png": save_with_exif_as_text,
    "other.gif": lambda path: open_photo((9, 9)).save(path),
    "other.hdr": lambda path: path.write_bytes(
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 2\n" + bytes(16)
    ),
    "folder.png": Path.mkdir,
    "huge.ppm": lambda path: path.write_bytes(b"P6 16000 16000 255\n"),
}


def encode_jpeg():
    buffer = io.BytesIO()
    with Image.open(PHOTO) as image:
        image.save(buffer, "JPEG")
    return buffer.getvalue()


def save_with_comments(path):
    pixels = open_photo((5, 4)).tobytes()
    path.write_bytes(b"P6\n# Created by GIMP\n# again\n5 # wide\n4\n255\n" + pixels)


GOOD_IMAGES = {
    "palette.png": lambda path: open_photo((33, 21)).quantize(17).save(path),
    "clear_palette.png": lambda path: open_photo((33, 21)).quantize(17).save(path, transparency=3),
    "alpha.png": lambda path: make_half_clear().save(path),
    "grey_alpha.png": lambda path: make_half_clear().convert("LA").save(path),
    "clear_grey.png": lambda path: open_photo((33, 21)).convert("L").save(path, transparency=99),
    "clear_colour.png": lambda path: open_photo((33, 21)).save(path, transparency=(1, 2, 3)),
    "one_bit.png": lambda path: open_photo((33, 21)).convert("1").save(path),
    "one_pixel.png": lambda path: open_photo((1, 1)).save(path),
    "upright.png": lambda path: save_turned(path, 1),
    "unknown.png": lambda path: save_turned(path, 0),
    "upright_xmp.png": lambda path: save_with_xmp(path, 'tiff:Orientation="1">'),
    "comments.ppm": save_with_comments,
    "grey.pgm": lambda path: open_photo((33, 21)).convert("L").save(path),
    "colour.bmp": lambda path: open_photo((33, 21)).save(path),
    "grey.bmp": lambda path: open_photo((33, 21)).convert("L").save(path),
}


def make_half_clear():
    image = open_photo((33, 21))
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def write_fuzzed_images(folder):
    """Write image files in which some bytes, most of them in the header, are random."""
    random = np.random.default_rng(0)
    with Image.open(PHOTO) as image:
        small = image.resize((33, 21))
    for kind in ("PNG", "JPEG", "PPM", "BMP"):
        buffer = io.BytesIO()
        small.save(buffer, kind)
        for i in range(250):
            content = np.frombuffer(buffer.getvalue(), np.uint8).copy()
            header = random.integers(0, min(len(content), 200), random.integers(1, 6))
            content[header] = random.integers(0, 256, len(header))
            content = content[: random.integers(1, len(content) + 1) if i % 3 == 0 else None]
            path = folder / f"{i}.{kind.lower()}"
            path.write_bytes(content.tobytes())
            yield path
