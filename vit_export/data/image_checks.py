"""Images that Pillow opens and that are refused: JPEG bombs, and thumbnails of raw photos."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SCANS = 100
"""Scans of a JPEG file, as libtiff has it; encoders write ten. Each costs time for every pixel."""
MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
"""What begins a segment of a JPEG file: neither a stuffed 255, nor a restart, nor a fill byte."""
END_OF_IMAGE, START_OF_SCAN = b"\xd9", b"\xda"

NEW_SUBFILE_TYPE, DNG_VERSION = 254, 50706
"""Tags of a TIFF file."""
REDUCED = 1
"""Bit of NewSubfileType: the image is a smaller version of another one in the file."""
CR2 = b"CR"
"""Bytes 8 and 9 of a raw photo of Canon's; other TIFF files begin their first directory there."""


def check_decodable(image: "Image", path: Path) -> None:
    """Raise RequestError unless decoding an open image takes bounded time and gives the picture."""
    if image.format == "JPEG" and count_scans(path) > MAX_SCANS:
        message = f"{path} has more than {MAX_SCANS} scans (a JPEG bomb?)."
        raise RequestError(message, "save the image again.")
    if image.format == "TIFF" and _is_raw(image, path):
        message = f"{path} is a raw photo: its first image is a thumbnail."
        raise RequestError(message, "save it as PNG or JPEG in a program for raw photos.")


def count_scans(path: Path) -> int:
    """Return the number of scans in a JPEG file, from its markers alone."""
    content = path.read_bytes()
    scans, position = 0, 2
    while (marker := MARKER.search(content, position)) and marker[1] != END_OF_IMAGE:
        scans += marker[1] == START_OF_SCAN
        position = marker.end()
        position += int.from_bytes(content[position : position + 2])
    return scans


def _is_raw(image: "Image", path: Path) -> bool:
    """Return whether a TIFF file is a raw photo, such as .dng, .nef and .cr2, by its content.

    Pillow itself refuses one whose first image is that of the sensor.
    """
    tags = getattr(image, "tag_v2", {})
    with path.open("rb") as file:
        is_cr2 = file.read(10).endswith(CR2)
    is_reduced = bool(int(tags.get(NEW_SUBFILE_TYPE, 0)) & REDUCED)
    return is_cr2 or is_reduced or DNG_VERSION in tags
