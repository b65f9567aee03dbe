"""Odd image files, intact and damaged: a C++ project reads each as Pillow does, or refuses it."""

import io
import re
import zlib

import numpy as np
from cpp_images import PHOTO
from PIL import Image, PngImagePlugin


def encode(kind, image=None, **options):
    buffer = io.BytesIO()
    with Image.open(PHOTO) as photo:
        small = photo.convert("RGB").resize((45, 37))
    (image(small) if image else small).save(buffer, kind, **options)
    return buffer.getvalue()


def to_mode(mode):
    return lambda image: image.convert(mode)


def remove_adobe_marker(jpeg):
    at = jpeg.find(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]


def make_exif(order, kind, value):
    """A TIFF header with one entry, the orientation, of type `kind`."""
    size = {1: 1, 3: 2, 4: 4}[kind]
    number = value.to_bytes(size, order).ljust(4, b"\0")
    parts = [(42, 2), (8, 4), (1, 2), (0x112, 2), (kind, 2), (1, 4)]
    body = b"".join(one.to_bytes(size, order) for one, size in parts)
    return (b"II" if order == "little" else b"MM") + body + number + bytes(4)


def add_exif(jpeg, exif):
    segment = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


def add_text(key, text, **options):
    chunks = PngImagePlugin.PngInfo()
    (chunks.add_itxt if key.startswith("XML") else chunks.add_text)(key, text, **options)
    return encode("PNG", pnginfo=chunks)


def make_chunk(kind, content):
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def make_png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_chunk(kind, one) for kind, one in chunks)


HEADER = b"IHDR", (3).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
PALETTE, END = (b"PLTE", bytes(range(6))), (b"IEND", b"")


def make_palette_png(index):
    return make_png(HEADER, PALETTE, (b"IDAT", zlib.compress(bytes([0, 0, 1, index]))), END)


def split_png(png):
    at = 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size


def add_chunk(kind, content):
    """A chunk behind the header of a PNG."""
    header, *others = split_png(encode("PNG"))
    return make_png(header, (kind, content), *others)


def change_chunk(png, random):
    """A PNG with changed bytes and with right checksums of its chunks."""
    chunks = [*split_png(png)]
    at = random.integers(len(chunks) - 1)
    kind, content = chunks[at]
    compressed = kind == b"IDAT" and random.random() < 0.5
    content = change_bytes(zlib.decompress(content) if compressed else content, random)
    chunks[at] = kind, zlib.compress(content) if compressed else content
    return make_png(*chunks)


def change_bytes(content, random):
    changed = np.frombuffer(content, np.uint8).copy()
    places = random.integers(0, len(changed), random.integers(1, 5))
    changed[places] = random.integers(0, 256, len(places))
    return changed.tobytes()


def make_os2_bmp(last=3):
    head = b"".join(one.to_bytes(2, "little") for one in (4, 1, 1, 8))
    palette = bytes(range(200, 212)) + bytes(3 * 252)
    size = 26 + len(palette)
    start = b"BM" + (size + 4).to_bytes(4, "little") + bytes(4) + size.to_bytes(4, "little")
    return start + (12).to_bytes(4, "little") + head + palette + bytes([0, 1, 2, last])


def make_small_palette_bmp(index):
    numbers = (
        (40, 4),
        (4, 4),
        (1, 4),
        (1, 2),
        (8, 2),
        (0, 4),
        (4, 4),
        (0, 4),
        (0, 4),
        (2, 4),
        (0, 4),
    )
    header = b"".join(one.to_bytes(size, "little") for one, size in numbers)
    start = b"BM" + (66).to_bytes(4, "little") + bytes(4) + (62).to_bytes(4, "little")
    return start + header + bytes([9, 8, 7, 0, 3, 2, 1, 0]) + bytes([0, 1, 0, index])


def change_byte(content, at, by=0x10):
    return content[:at] + bytes([content[at] ^ by]) + content[at + 1 :]


def list_too_many_codes(jpeg):
    """A Huffman table of 4,080 codes: stb_image 2.27 wrote behind its array."""
    at = jpeg.find(b"\xff\xc4") + 5
    return jpeg[:at] + bytes([255]) * 16 + jpeg[at + 16 :]


def set_sampling(jpeg, luma, width, height):
    """The same blocks in another order: a JPEG with other sampling factors of its luma."""
    at = re.search(rb"\xff[\xc0\xc2]\0\x11", jpeg).start() + 5
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return jpeg[:at] + size + jpeg[at + 4 : at + 6] + bytes([luma]) + jpeg[at + 7 :]


def split_exif(jpeg, exif, at=8):
    """The EXIF data in two segments, which Pillow joins."""
    return add_exif(add_exif(jpeg, exif[at:]), exif[:at])


def add_xmp(jpeg, namespace, value):
    """XMP data, in a segment of its own or of an extension."""
    segment = namespace + XMP.format(value).encode()
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


def change_segment(jpeg, marker, offset, value):
    """One byte of the last segment with that marker; the offset counts from the marker."""
    at = jpeg.rindex(b"\xff" + bytes([marker])) + offset
    return jpeg[:at] + bytes([value]) + jpeg[at + 1 :]


def make_deep_pgm():
    values = np.arange(45 * 37, dtype=">u2").tobytes()
    return b"P5 45 37 65535\n" + values


XMP = '<rdf:Description tiff:Orientation="{}"></rdf:Description>'
ROW = zlib.compress(bytes([0, 0, 1, 0]))
RAW = "\nexif\n{:8}\n{}\n"
NAMESPACE, EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
JPEGS = {
    f"{mode}_{sampling}_{kind}.jpg": encode(
        "JPEG", to_mode("RGB"), quality=90, subsampling=index, progressive=kind == "progressive"
    )
    for mode in ("ycc",)
    for index, sampling in enumerate(("444", "422", "420"))
    for kind in ("baseline", "progressive")
}
JPEGS |= {
    f"ycc_440_{kind}.jpg": set_sampling(JPEGS[f"ycc_422_{kind}.jpg"], 0x12, 37, 45)
    for kind in ("baseline", "progressive")
}
JPEGS["ycc_411_baseline.jpg"] = set_sampling(JPEGS["ycc_420_baseline.jpg"], 0x41, 90, 20)
CORPUS = {
    **JPEGS,
    "grey.jpg": encode("JPEG", to_mode("L")),
    "rgb.jpg": encode("JPEG", keep_rgb=True),
    "restart.jpg": encode("JPEG", restart_marker_blocks=2),
    "cmyk.jpg": encode("JPEG", to_mode("CMYK")),
    "cmyk_bare.jpg": remove_adobe_marker(encode("JPEG", to_mode("CMYK"))),
    "huffman.jpg": list_too_many_codes(encode("JPEG")),
    "unknown_component.jpg": change_segment(encode("JPEG"), 0xDA, 7, 9),
    "component_twice.jpg": change_segment(encode("JPEG"), 0xDA, 7, 1),
    "no_codes.jpg": change_segment(encode("JPEG"), 0xC4, 1, 0xE5),
    "no_factors.jpg": change_segment(encode("JPEG"), 0xDB, 1, 0xE5),
    "long_difference.jpg": change_segment(encode("JPEG"), 0xC4, -1, 255),
    "video_behind.jpg": encode("JPEG") + b"\0\0\0\x18ftypmp42\xff\xda" + bytes(99),
    "no_end.jpg": encode("JPEG")[:-2],
    **{
        f"{order}_{kind}_{value}.jpg": add_exif(encode("JPEG"), make_exif(order, kind, value))
        for order in ("little", "big")
        for kind in (3, 4)
        for value in (1, 6)
    },
    "byte_6.jpg": add_exif(encode("JPEG"), make_exif("little", 1, 6)),
    **{
        f"exif_in_two_{place}_{value}.jpg": split_exif(
            encode("JPEG"), make_exif("big", 3, value), place
        )
        for place in (6, 8, 14)
        for value in (1, 6)
    },
    "second_exif_6.jpg": add_exif(
        add_exif(encode("JPEG"), make_exif("big", 3, 6)), make_exif("big", 3, 1)
    ),
    "exif_after_adobe_6.jpg": encode(
        "JPEG", to_mode("CMYK"), exif=b"Exif\0\0" + make_exif("big", 3, 6)
    ),
    **{f"xmp_{value}.jpg": add_xmp(encode("JPEG"), NAMESPACE, value) for value in (1, 6)},
    "xmp_extension_6.jpg": add_xmp(encode("JPEG"), EXTENSION, 6),
    "xmp_6.png": add_text("XML:com.adobe.xmp", XMP.format(6)),
    "xmp_zip_6.png": add_text("XML:com.adobe.xmp", XMP.format(6), zip=True),
    "xmp_zip_1.png": add_text("XML:com.adobe.xmp", XMP.format(1), zip=True),
    "magick_1.png": add_text(
        "Raw profile type exif", RAW.format(26, make_exif("big", 3, 1).hex()), zip=True
    ),
    "magick_6.png": add_text(
        "Raw profile type exif", RAW.format(26, make_exif("big", 3, 6).hex()), zip=True
    ),
    "long_text.png": add_text("Comment", "x" * 3_000_000, zip=True),
    "grey_2_bits.png": encode("PNG", lambda image: image.quantize(4), bits=2),
    "palette.png": make_palette_png(1),
    "palette_beyond.png": make_palette_png(2),
    "palette_behind.png": make_png(HEADER, (b"IDAT", ROW), PALETTE, END),
    "palette_twice.png": make_png(HEADER, PALETTE, PALETTE, (b"IDAT", ROW), END),
    "data_apart.png": make_png(
        HEADER, PALETTE, (b"IDAT", ROW[:5]), (b"tEXt", b"a\0b"), (b"IDAT", ROW[5:]), END
    ),
    "no_data.png": make_png(HEADER, PALETTE, END),
    "adler.png": make_png(HEADER, PALETTE, (b"IDAT", change_byte(ROW, len(ROW) - 1)), END),
    "profile.png": add_chunk(b"iCCP", b"ICC Profile\0\1"),
    "text_kind.png": add_chunk(b"zTXt", b"Comment\0\1" + zlib.compress(b"a")),
    "crc.png": change_byte(encode("PNG"), -40),
    "no_end.png": encode("PNG")[:-12],
    "deep.png": encode("PNG", lambda image: image.convert("I;16")),
    "deep.pgm": make_deep_pgm(),
    "os2.bmp": make_os2_bmp(),
    "small_palette.bmp": make_small_palette_bmp(1),
    "palette_beyond.bmp": make_small_palette_bmp(86),
    "half.bmp": encode("BMP")[: len(encode("BMP")) // 2],
    "one_bit.bmp": encode("BMP", to_mode("1")),
    "palette.bmp": encode("BMP", lambda image: image.quantize(200)),
}
REFUSED = {
    *("huffman.jpg", "no_end.jpg", "byte_6.jpg"),
    *("unknown_component.jpg", "component_twice.jpg", "no_factors.jpg", "long_difference.jpg"),
    *(f"{order}_{kind}_6.jpg" for order in ("little", "big") for kind in (3, 4)),
    *(f"exif_in_two_{place}_6.jpg" for place in (6, 8, 14)),
    *("exif_after_adobe_6.jpg", "xmp_6.jpg", "xmp_extension_6.jpg"),
    *("xmp_6.png", "xmp_zip_6.png", "magick_6.png", "long_text.png"),
    *("palette_behind.png", "palette_twice.png", "data_apart.png", "no_data.png", "adler.png"),
    *("profile.png", "text_kind.png"),
    *("palette_beyond.png", "crc.png", "no_end.png", "deep.png", "deep.pgm"),
    *("palette_beyond.bmp", "half.bmp"),
}
"""Damaged files, turned ones, and those of 16 bits."""
REFUSED_BY_STB = {
    *("cmyk.jpg", "cmyk_bare.jpg", "ycc_411_baseline.jpg", "no_codes.jpg"),
    *(name for name in JPEGS if "progressive" in name),
}


def write_corpus(folder):
    """Write every file of the corpus, and JPEG and PNG files with changed bytes or ends."""
    random = np.random.default_rng(1)
    files = dict(CORPUS)
    for name in (*JPEGS, "grey.jpg", "restart.jpg", "cmyk.jpg", "palette.png", "palette.bmp"):
        for i in range(60):
            content = change_bytes(CORPUS[name], random)
            files[f"{i}_{name}"] = content[
                : random.integers(1, len(content)) if i % 4 == 0 else None
            ]
    for name in ("palette.png", "grey_2_bits.png", "xmp_zip_1.png", "magick_1.png"):
        for i in range(60):
            files[f"chunk_{i}_{name}"] = change_chunk(CORPUS[name], random)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        yield folder / name
