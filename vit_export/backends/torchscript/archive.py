"""The zip archive of a TorchScript file, read without LibTorch.

LibTorch and Python each have a reader of zip archives, and the two may see different files in a
crafted one. So an archive is refused unless it has the plain form that vit-export writes: stored
records one after the other, each name once, all in one folder. Both readers see the same in it.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from vit_export.artifact.manifest import INTERFACE_KEY, KEY
from vit_export.core.errors import RequestError

EXTRA_FILE = f"{KEY}.json"
"""The name of the manifest among the extra files of an archive."""
RECORD = re.compile(
    r"data\.pkl|constants\.pkl|constants/[0-9]+|code/__torch__(/\w+)*\.py|version|"
    rf"\.data/version|byteorder|extra/(?:{re.escape(EXTRA_FILE)}|{INTERFACE_KEY})",
    re.ASCII,
)
"""The records that vit-export writes, without their folder."""
MAX_CODE_BYTES = 4 << 20
"""Largest code and largest pickle: those of the largest preset have 0.1 MB."""
LOCAL, LOCAL_BYTES, LOCAL_MAGIC = "<4s5H3L2H", 30, b"PK\x03\x04"
END, END_BYTES, END_MAGIC = "<4s4H2LH", 22, b"PK\x05\x06"
END_64, END_64_MAGIC, LOCATOR_BYTES = "<4sQ2H2L4Q", b"PK\x06\x06", 20
LOCATOR_MAGIC = b"PK\x06\x07"
SHORT, LONG = 0xFFFF, 0xFFFFFFFF
"""Numbers in place of those that need more bits."""
FIX = "copy it again, or export the model again; open no program whose origin you don't trust."


def refuse(path: Path, reason: str) -> RequestError:
    """Return the error of a TorchScript file that vit-export did not write."""
    return RequestError(f"{path} is no TorchScript file as vit-export writes it: {reason}.", FIX)


def read_manifest_json(path: Path) -> str | None:
    """Return the manifest in an archive, or None where there is none; the program is not opened.

    Raises:
        RequestError: the file is no intact archive.
    """
    manifest = read_texts(path, "extra/").get(f"extra/{EXTRA_FILE}")
    if manifest is None:
        return None
    try:
        return manifest.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse(path, "its manifest is not UTF-8 text") from None


def read_texts(path: Path, prefix: str = "") -> dict[str, bytes]:
    """Return the records that begin with `prefix` and hold no numbers of tensors, by name.

    Names are without the folder of the archive.

    Raises:
        RequestError: the file is no intact archive, or such a record is compressed or too large.
    """
    with _open_archive(path) as archive:
        records = [(one.filename.partition("/")[2], one) for one in archive.infolist()]
        texts = [(name, one) for name, one in records if name.startswith(prefix)]
        texts = [(name, one) for name, one in texts if not name.startswith("constants/")]
        for name, one in texts:
            is_long = one.file_size > MAX_CODE_BYTES and not name.startswith("extra/")
            if one.compress_type != ZIP_STORED or is_long:
                raise refuse(path, f"{name[:60]!r} is compressed, or too large")
        return {name: archive.read(one) for name, one in texts}


def measure_records(path: Path) -> dict[str, int]:
    """Return the size in bytes of each record of an archive; names are without its folder.

    Raises:
        RequestError: the archive has another form than that which vit-export writes.
    """
    with _open_archive(path) as archive:
        infos = archive.infolist()
    if len({one.filename.partition("/")[0] for one in infos}) != 1:
        raise refuse(path, "its records are in several folders")
    sizes = {one.filename.partition("/")[2]: one.file_size for one in infos}
    for name in sizes:
        if not RECORD.fullmatch(name):
            raise refuse(path, f"it holds {name[:60]!r}")
    if len({name.lower() for name in sizes}) < len(infos):
        raise refuse(path, "a record is there twice")
    with path.open("rb") as file:
        _check_layout(path, file, infos)
    return sizes


@contextmanager
def _open_archive(path: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(path) as archive:
            yield archive
    except RequestError:
        raise
    except Exception as error:  # noqa: BLE001 damaged bytes make a reader raise anything
        raise refuse(path, f"it is cut off or damaged ({error})") from None


def _check_layout(path: Path, file: BinaryIO, infos: Sequence[ZipInfo]) -> None:
    """Raise RequestError unless nothing stands before, between or behind what `infos` lists."""
    position = 0
    for one in sorted(infos, key=lambda info: info.header_offset):
        if one.header_offset != position or one.compress_type != ZIP_STORED:
            raise refuse(path, "its records are compressed, or don't follow each other")
        position = _find_end(path, file, one)
    if not infos or position != _find_directory(file, len(infos)):
        raise refuse(path, "more than its records is inside")


def _find_end(path: Path, file: BinaryIO, info: ZipInfo) -> int:
    """Return where a record ends, by the header before it, which has to agree with `info`."""
    file.seek(info.header_offset)
    head = file.read(LOCAL_BYTES)
    if len(head) < LOCAL_BYTES:
        raise refuse(path, "it is cut off")
    magic, _, flags, method, *_, name_bytes, extra_bytes = struct.unpack(LOCAL, head)
    name = file.read(name_bytes)
    is_same = name == info.filename.encode() and info.compress_size == info.file_size
    if magic != LOCAL_MAGIC or flags or info.flag_bits or method != ZIP_STORED or not is_same:
        raise refuse(path, "the head of a record differs from its list of records")
    end: int = info.header_offset + LOCAL_BYTES + name_bytes + extra_bytes + info.file_size
    return end


def _find_directory(file: BinaryIO, count: int) -> int | None:
    """Return where the list of records begins; None unless it reaches to the end of the file."""
    size = file.seek(0, 2)
    end = size - END_BYTES
    file.seek(end)
    magic, disk, disk_of_list, here, total, length, start, comment = struct.unpack(
        END, file.read(END_BYTES)
    )
    file.seek(end - LOCATOR_BYTES)
    if file.read(4) == LOCATOR_MAGIC:  # a file that needs 64 bits for an offset or a number
        end -= LOCATOR_BYTES + struct.calcsize(END_64)
        file.seek(end)
        fields = struct.unpack(END_64, file.read(struct.calcsize(END_64)))
        if fields[0] != END_64_MAGIC or (start < LONG and length < LONG and total < SHORT):
            return None
        disk, disk_of_list, here, total, length, start = fields[4:]
    is_plain = magic == END_MAGIC and not (disk or disk_of_list or comment)
    if not is_plain or here != count or total != count or start + length != end:
        return None
    first: int = start
    return first
