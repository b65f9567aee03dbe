"""Image files to Pillow's images, upright and with 8 bits per channel.

Pillow reads more than forty formats, and strangers write the files. So only those in `PLUGINS` are
opened: they are what cameras and datasets hold, and no parser of theirs starts another program, as
that of EPS starts Ghostscript. The content decides, not the suffix.
"""

import logging
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import RequestError
from vit_export.data.image_checks import check_decodable

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["L", "RGB", "channels"]

PLUGINS = {
    "PNG": "PngImagePlugin",
    "JPEG": "JpegImagePlugin",
    "WEBP": "WebPImagePlugin",
    "BMP": "BmpImagePlugin",
    "TIFF": "TiffImagePlugin",
    "GIF": "GifImagePlugin",
    "PPM": "PpmImagePlugin",
    "AVIF": "AvifImagePlugin",
}
"""Formats that are opened, by Pillow's name, and Pillow's module for each."""
KINDS = "PNG, JPEG, WebP, BMP, TIFF, GIF, PPM or AVIF"
MAX_FILE_BYTES = 2**29
"""Size limit of an image file: Pillow reads some formats into memory whole."""
STRIP_PIXELS = 2**20
"""Pixels that are scaled from 16 to 8 bits at a time."""
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
CONVERT_HEIC = (
    "import sys, pillow_heif; pillow_heif.open_heif(sys.argv[1]).to_pillow().save(sys.argv[2])"
)
MAX_REASON = 200
"""Characters of an error of Pillow's that a message repeats."""


def load_image(path: Path, mode: Mode) -> "Image":
    """Return the image in `mode`, upright, with 8 bits per channel.

    EXIF orientation is applied, transparency is dropped, palettes are resolved. 16-bit grey is
    scaled to 8 bits, where Pillow's own conversion would clip it; in a 32-bit TIFF file, grey
    without a value above 255 holds 8 bits and stays as it is.

    Raises:
        RequestError: the file does not exist, is no image in a format of `PLUGINS`, is damaged, is
            too large, is a raw photo, or has too many scans.
    """
    from PIL import ImageOps

    with open_image(path) as image:
        check_decodable(image, path)
        ImageOps.exif_transpose(image, in_place=True)
        return _to_mode(image, mode)


def identify_format(path: Path) -> str | None:
    """Return Pillow's name for the format of a file, from its header; None if it is no image."""
    try:
        with open_image(path) as image:
            return image.format
    except RequestError:
        return None


@contextmanager
def open_image(path: Path) -> Iterator["Image"]:
    """Yield the image in a file: its header is read, and its pixels are not.

    Whatever Pillow raises while the context is open becomes a RequestError, but for MemoryError.

    Raises:
        RequestError: the file does not exist, is no image in a format of `PLUGINS`, is damaged, or
            is too large.
    """
    from PIL import Image

    _check_file(path)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield Image.open(file, formats=_import_formats())
    except (RequestError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise RequestError(
            f"{path} has more than {limit} pixels (a decompression bomb?).",
            "shrink the image first.",
        ) from None
    except Exception as error:  # noqa: BLE001 a damaged file can raise anything in Pillow
        raise _explain(path, error) from None


@cache
def _import_formats() -> tuple[str, ...]:
    """Return the formats of `PLUGINS` that this Pillow has; no other parser is imported."""
    from PIL import Image

    for plugin in PLUGINS.values():
        try:
            import_module(f"PIL.{plugin}")
        except ModuleNotFoundError:  # Pillow reads AVIF from 11.3 on
            continue
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would log damage to stderr
    return tuple(name for name in PLUGINS if name in Image.OPEN)


def _check_file(path: Path) -> None:
    """Raise RequestError unless `path` is a regular file of at most `MAX_FILE_BYTES`.

    To open a pipe could wait forever, and a device need not end.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise RequestError(f"{path}: no such image.", "check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{path} can't be read: {reason}.", "check the path.") from None
    if S_ISDIR(status.st_mode):
        raise RequestError(f"{path} is a folder.", "name image files.")
    if not S_ISREG(status.st_mode):
        raise RequestError(f"{path} is a pipe or a device, no file.", "save the image as a file.")
    if status.st_size > MAX_FILE_BYTES:
        message = f"{path} has {status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}."
        raise RequestError(message, "shrink the image first.")


def _explain(path: Path, error: Exception) -> RequestError:
    """Return what `error` means to the user."""
    from PIL import UnidentifiedImageError

    if isinstance(error, PermissionError):
        return RequestError(f"{path} can't be read: {error.strerror}.", "check its permissions.")
    if _is_heic(path):
        target = shlex.quote(str(path.with_suffix(".png")))
        convert = f'python -c "{CONVERT_HEIC}" {shlex.quote(str(path))} {target}'
        message = f"{path} is not an image that Pillow opens: it is HEIC."
        return RequestError(message, f"pip install pillow-heif && {convert}")
    if isinstance(error, UnidentifiedImageError):
        return RequestError(f"{path} is not an image in a known format.", f"give {KINDS}.")
    reason = (str(error) or type(error).__name__).splitlines()[0][:MAX_REASON].rstrip(".")
    return RequestError(f"{path} can't be decoded: {reason}.", "save the image again.")


def _is_heic(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(64)
    size = int.from_bytes(head[:4])
    brands = head[8 : min(size, 64)]
    return head[4:8] == b"ftyp" and b"avif" not in brands and any(b in brands for b in HEIC_BRANDS)


def _to_mode(image: "Image", mode: Mode) -> "Image":
    if image.mode.startswith("I"):
        image = _scale_to_8_bits(image)
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    return image.convert(mode)


def _scale_to_8_bits(image: "Image") -> "Image":
    """Return grey of 16 or 32 bits per pixel in 8, rounded. Strips of it bound the memory."""
    from PIL import Image

    divisor = _find_divisor(image)
    grey = np.empty((image.height, image.width), np.uint8)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip: npt.NDArray[np.int32] = np.asarray(
            image.crop((0, top, image.width, bottom)), np.int32
        )
        grey[top:bottom] = (strip.clip(0, 65535) + divisor // 2) // divisor
    return Image.fromarray(grey)


def _find_divisor(image: "Image") -> int:
    """Return 257 for 16 bits per pixel and 1 for 8.

    Pillow scales PGM files to 16 bits by the largest value that their header allows. The 32 bits of
    a TIFF file hold either, and nothing in the file says which; the largest value decides.
    """
    if image.mode == "I" and image.format != "PPM":
        return 1 if image.getextrema()[1] <= 255 else 257  # type: ignore[operator]  # noqa: PLR2004 8 bits
    return 257
