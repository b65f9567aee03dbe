"""Image files of strangers: formats, damage, memory; and what a folder of them holds."""

import io
import os
import random
import socket
import struct
import subprocess
import sys
import warnings
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import FASHION, expect_error, run, run_json

from vit_export import RequestError
from vit_export.data.calibration import CalibrationImages
from vit_export.data.decode import KINDS, MAX_FILE_BYTES, PLUGINS, load_image
from vit_export.data.image_checks import MAX_SCANS, count_scans
from vit_export.data.image_folder import scan_folder
from vit_export.data.preprocessing import Preprocessing, preprocess

IMAGE = FASHION / "images" / "bag_1.png"
STEPS = Preprocessing(resize=32, crop=(24, 24), mean=(0.5,) * 3, std=(0.5,) * 3)


def photo(height=24, width=20):
    y, x = np.mgrid[:height, :width]
    colours = np.stack([y * 255 // height, x * 255 // width, x * y % 256], -1)
    return Image.fromarray(colours.astype(np.uint8))


def encode(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# Formats


@pytest.mark.parametrize("kind", PLUGINS)
def test_the_content_decides_not_the_suffix(tmp_path, kind):
    path = tmp_path / "image.bin"
    path.write_bytes(encode(photo(), kind))
    with Image.open(path) as image:
        np.testing.assert_array_equal(load_image(path, "RGB"), image.convert("RGB"))


OTHERS = ("BLP", "DDS", "ICNS", "ICO", "JPEG2000", "PCX", "QOI", "SGI", "SPIDER", "TGA", "XBM")
LOOKS = {"BLP": "P", "SPIDER": "F", "XBM": "1"}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_of_pillow_are_refused(tmp_path, kind):
    path = tmp_path / "image.png"
    path.write_bytes(encode(photo(64, 64).convert(LOOKS.get(kind, "RGB")), kind))
    with Image.open(path) as image:  # Pillow itself would open it
        assert image.format == kind
    with pytest.raises(RequestError, match="not an image in a known format") as refusal:
        load_image(path, "RGB")
    assert refusal.value.fix == f"give {KINDS}."


def test_floating_point_pixels_and_folders_are_no_images(tmp_path):
    photo().convert("F").save(tmp_path / "a.tif")
    with pytest.raises(RequestError, match="can't be decoded: floating-point pixels"):
        load_image(tmp_path / "a.tif", "L")
    with pytest.raises(RequestError, match="is a folder"):
        load_image(tmp_path, "L")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A PostScript file called evil.png, and the file that Ghostscript would write."""
    tools, mark = tmp_path / "tools", tmp_path / "ghostscript ran"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "evil.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    return path, mark


def test_no_image_starts_ghostscript(trap, fashion_file):
    path, mark = trap
    for command in (
        ("predict", fashion_file, path),
        ("validate", fashion_file, "--images", path.parent),
    ):
        message = expect_error(*command, exit_code=2)
        assert "not an image in a known format" in message or "holds no images" in message
    assert not mark.exists()
    with pytest.raises(OSError), Image.open(path) as image:  # noqa: PT011 any of Ghostscript's
        image.load()
    assert mark.exists()  # the trap works


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"])
def test_heic_is_named_with_its_converter(tmp_path, brands):
    path = tmp_path / "IMG 1.HEIC"
    path.write_bytes((len(brands) + 8).to_bytes(4) + b"ftyp" + brands + bytes(40))
    with pytest.raises(RequestError, match="it is HEIC") as refusal:
        load_image(path, "RGB")
    install, _, convert = refusal.value.fix.partition(" && ")
    assert install == "pip install pillow-heif"
    package = tmp_path / "pillow_heif.py"  # stands in for it
    package.write_text(
        "from PIL import Image\n"
        "def open_heif(path):\n"
        "    open(path).close()\n"
        "    return type('Heif', (), {'to_pillow': lambda _: Image.new('RGB', (8, 8))})()\n"
    )
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PATH": tools}
    subprocess.run(convert, shell=True, check=True, env=environment)  # noqa: S602 the user's shell
    assert load_image(tmp_path / "IMG 1.png", "RGB").size == (8, 8)


# Raw photos and JPEG bombs


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1}], ids=[".dng", ".nef"])
def test_the_thumbnail_of_a_raw_photo_is_not_the_photo(tmp_path, tags):
    path = tmp_path / "image.tif"
    photo().save(path, "TIFF", tiffinfo=tags)
    with Image.open(path) as image:
        assert image.tag_v2.items() >= tags.items()
    with pytest.raises(RequestError, match="is a raw photo"):
        load_image(path, "RGB")


def test_a_raw_photo_of_canon_is_recognized(tmp_path):
    """It has its mark where other TIFF files have their first directory."""
    photo().save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    (first,) = struct.unpack_from("<I", content, 4)
    count = struct.unpack_from("<H", content, first)[0]
    directory = content[first : first + 2 + 12 * count] + bytes(4)
    padded = content + bytes(-len(content) % 2)
    marked = b"II*\0" + struct.pack("<I", len(padded)) + b"CR\2\0" + padded[12:] + directory
    for path, text in ((tmp_path / "a.cr2", marked), (tmp_path / "b.tif", padded)):
        path.write_bytes(text)
    assert load_image(tmp_path / "b.tif", "RGB").size == (20, 24)
    with pytest.raises(RequestError, match="is a raw photo"):
        load_image(tmp_path / "a.cr2", "RGB")


def repeat_last_scan(content, count):
    """A progressive JPEG file whose last scan comes `count` times more."""
    last, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:end] + content[last:end] * count + content[end:]


def test_a_jpeg_file_of_many_scans_is_refused(tmp_path):
    content = encode(photo(64, 64).convert("L"), "JPEG", progressive=True)
    whole, bomb = tmp_path / "whole.jpg", tmp_path / "bomb.jpg"
    whole.write_bytes(content)
    scans = count_scans(whole)
    assert scans == content.count(b"\xff\xda") > 1
    whole.write_bytes(repeat_last_scan(content, MAX_SCANS - scans))
    bomb.write_bytes(repeat_last_scan(content, MAX_SCANS - scans + 1))
    with Image.open(bomb) as image:
        image.load()  # Pillow itself decodes all of them
    assert load_image(whole, "L").size == (64, 64)
    with pytest.raises(RequestError, match=r"more than 100 scans \(a JPEG bomb\?\)"):
        load_image(bomb, "L")


def test_what_looks_like_a_scan_and_is_none_is_not_counted(tmp_path):
    """In a comment, in compressed values, and behind the end, as the film of a moving photo."""
    marks = b"\xff\xda\0\2" * 200
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(photo(), "JPEG", comment=marks) + b"\0\0" + marks)
    assert count_scans(path) == 1
    assert load_image(path, "RGB").size == (20, 24)


# Dark images of 16 bits


@pytest.mark.parametrize("largest", [255, 65535])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_dark_pgm_file_is_read_as_the_same_png_file(tmp_path, mode, largest):
    pixels = (np.arange(40 * 30).reshape(40, 30) * largest // 1199).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.pgm").write_bytes(b"P5\n30 40\n65535\n" + pixels.astype(">u2").tobytes())
    loaded = [np.asarray(load_image(tmp_path / name, mode)) for name in ("a.png", "a.pgm")]
    assert loaded[0].max() == round(largest / 257)
    np.testing.assert_array_equal(*loaded)


def test_the_header_of_a_pgm_file_scales_it(tmp_path):
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    (tmp_path / "a.pgm").write_bytes(b"P5\n8 8\n1023\n" + pixels.astype(">u2").tobytes())
    loaded = np.asarray(load_image(tmp_path / "a.pgm", "L"))
    np.testing.assert_allclose(loaded, pixels * (255 / 1023), atol=0.51)


# Damage

KEPT = ("RGB", "L", "P", "1", "RGBA", "CMYK", "I;16", "F", "LA")
EXIF = Image.Exif()
EXIF[274] = 6


def seeds():
    """Files of all formats and modes, by format."""
    grey = Image.fromarray(np.asarray(photo().convert("L"), np.uint16) * 257)
    for kind, mode in product(PLUGINS, KEPT):
        image = grey if mode == "I;16" else photo().convert(mode)
        for options in ({}, {"exif": EXIF}, {"save_all": True, "append_images": [image.copy()]}):
            with suppress(KeyError, OSError, TypeError, ValueError):  # no such mode or option
                yield encode(image, kind, **options)


def flip(content, rng):
    content = bytearray(content)
    if rng.random() < 0.15:
        del content[rng.randrange(1, len(content)) :]
    for _ in range(rng.randint(1, 5)):
        end = min(len(content), 200) if rng.random() < 0.8 else len(content)
        content[rng.randrange(end)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(content)


@pytest.mark.parametrize("count", [1000, pytest.param(40_000, marks=pytest.mark.slow)])
def test_a_damaged_image_is_read_or_refused(tmp_path, count, capfd):
    rng = random.Random(16)  # noqa: S311 a seed, not a secret
    files = list(seeds())
    path = tmp_path / "image.png"
    refused = set()
    for _ in range(count):
        path.write_bytes(flip(rng.choice(files), rng))
        try:
            preprocess(load_image(path, "RGB"), STEPS)
        except RequestError as error:
            refused.add(error.message.removeprefix(f"{path} ")[:16] if error.fix else "no fix")
    assert {"can't be decoded", "is not an image "} < refused
    assert "no fix" not in refused
    assert capfd.readouterr().err == ""


def test_strange_metadata_is_no_damage(tmp_path):
    """Pillow warns about it, and the pixels are whole."""
    path = tmp_path / "image.jpg"
    path.write_bytes(encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0"))
    with pytest.warns(UserWarning, match="EXIF"), Image.open(path) as image:
        image.getexif()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path, "RGB").size == (20, 24)


# Memory

MEASURE = """
import re, sys
from pathlib import Path
import numpy, PIL.Image, PIL.ImageOps
from vit_export.data.decode import load_image
def peak():
    return 1024 * int(re.search("VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1])
before = peak()
size = load_image(Path(sys.argv[1]), "RGB").size
print((peak() - before) / (size[0] * size[1]))
"""
SIDE = 3000


def bytes_per_pixel(path):
    done = run("-c", MEASURE, path, command=sys.executable)
    return float(done.stdout)


def test_16_bits_need_no_more_memory_than_colour(tmp_path):
    """In fp64, copies took 28 bytes per pixel."""
    Image.new("I;16", (SIDE, SIDE), 300).save(tmp_path / "a.png")
    assert 4 < bytes_per_pixel(tmp_path / "a.png") < 9


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLUGINS)
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "I;16"])
def test_the_documented_memory_is_enough(tmp_path, kind, mode):
    """docs/security.md promises 20 bytes per pixel."""
    grey = Image.linear_gradient("L").resize((SIDE, SIDE))
    image = (
        Image.new("I;16", (SIDE, SIDE), 300) if mode == "I;16" else Image.merge("RGB", [grey] * 3)
    )
    options = {"JPEG": {"progressive": True, "subsampling": 0}, "WEBP": {"lossless": True}}
    try:
        content = encode(image.convert(mode), kind, **options.get(kind, {}), exif=EXIF)
    except (OSError, ValueError):
        pytest.skip(f"{kind} has no {mode}")
    (tmp_path / "image").write_bytes(content)
    assert bytes_per_pixel(tmp_path / "image") < 20


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "a.webp"
    path.write_bytes(b"RIFF\0\0\0\0WEBP")
    os.truncate(path, MAX_FILE_BYTES + 1)
    with pytest.raises(RequestError, match="more than 536,870,912"):
        load_image(path, "RGB")


# Folders


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "images"
    (home / "b").mkdir(parents=True)
    photo().save(home / "a.png")
    photo().save(home / "b" / "c.jpg")
    return home


def names(folder):
    content = scan_folder(folder)
    return [
        [one.relative_to(folder).as_posix() for one in part]
        for part in (content.images, content.not_images)
    ]


@pytest.mark.parametrize("kind", PLUGINS)
def test_a_folder_has_every_image_that_predict_opens(folder, kind):
    suffixes = [name for name, known in Image.registered_extensions().items() if known == kind]
    suffixes = [name for name in suffixes if name != ".pfm"] + ["", ".PNG", ".PHP"]
    expected = [f"x{suffix}" for suffix in suffixes if kind != "TIFF" or suffix != ".PHP"]
    for suffix in suffixes:
        (folder / f"x{suffix}").write_bytes(encode(photo(), kind))
    images, not_images = names(folder)
    assert images == sorted(["a.png", "b/c.jpg", *expected])
    assert not_images == [name for name in ("x.PHP",) if name not in expected]  # as raw photos are


def test_a_folder_names_what_is_no_image(folder):
    (folder / "labels.csv").write_text("a.png,1")
    (folder / "b" / "README").write_text("notes")
    (folder / ".hidden").write_text("notes")
    (folder / "lost.png").symlink_to("nowhere")
    photo().save(folder / "raw.dng", "TIFF")
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe")
    (folder / "device.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.gif"))
    assert names(folder) == [
        ["a.png", "b/c.jpg", "lost.png"],
        ["b/README", "device.jpg", "labels.csv", "pipe", "pipe.png", "raw.dng", "socket.gif"],
    ]


def test_links_to_folders_are_followed_once(folder, tmp_path):
    photo().save(tmp_path / "outside.png")
    (folder / "self").symlink_to(".")
    (folder / "b" / "up").symlink_to("..")
    (folder / "a link to b").symlink_to("b")
    other = tmp_path / "other"
    other.mkdir()
    photo().save(other / "d.gif")
    (other / "back").symlink_to(folder)
    (folder / "other").symlink_to(other)
    (folder / "same").symlink_to(other)
    assert names(folder) == [
        ["a.png", "b/c.jpg", "other/d.gif"],
        ["a link to b", "b/up", "other/back", "same", "self"],
    ]


def test_a_calibration_reads_the_same_files(folder):
    (folder / "self").symlink_to(".")
    photo().save(folder / "e.gif")
    os.mkfifo(folder / "pipe.png")
    images = CalibrationImages.find(folder, STEPS, ())
    assert [name for name, _ in images] == ["a.png", "b/c.jpg", "e.gif"]
    assert images.notes() == ["2 other files are no images (pipe.png, self)"]


@pytest.mark.parametrize(
    ("make", "message"),
    [(os.mkfifo, "is a pipe or a device"), (lambda path: path.symlink_to("/dev/zero"), "a device")],
)
def test_a_pipe_or_a_device_is_no_image(tmp_path, make, message):
    make(tmp_path / "a.png")
    with pytest.raises(RequestError, match=message):
        load_image(tmp_path / "a.png", "RGB")


def test_a_folder_without_images_names_what_it_has(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(RequestError, match=r"holds no images, but 1 other files: notes\.txt\."):
        scan_folder(tmp_path)


def test_validate_counts_all_images_and_names_the_rest(fashion, flat, few):
    """Half of the images are GIFs, a link leads back, and a CSV without a header labels them."""
    for i in range(0, len(few[1]), 2):
        Image.fromarray(few[0][i]).save(flat / f"{i:03}.gif")
        (flat / f"{i:03}.png").unlink()
    rows = [f"{i:03}.{'png' if i % 2 else 'gif'},{label}\n" for i, label in enumerate(few[1])]
    (flat / "labels.csv").write_text("".join(rows))
    (flat / "notes.txt").write_text("no image")
    (flat / "self").symlink_to(".")
    images = ("--images", flat, "--labels-csv", flat / "labels.csv")
    report = run_json("validate", fashion.path["onnx"], *images, "-q")["images"]
    assert report["count"] == report["accuracy_after"]["of"] == len(few[1])
    assert report["not_images"] == {"count": 2, "first": ["notes.txt", "self"]}
    text = run("validate", fashion.path["onnx"], *images, "-q").stdout
    assert "2 other files are no images and were left out: notes.txt, self" in text
