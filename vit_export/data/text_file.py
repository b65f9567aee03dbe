"""Small text files of users, such as labels: UTF-8, with or without a byte order mark."""

import codecs
import shlex
from pathlib import Path
from stat import S_ISBLK, S_ISCHR

from vit_export.core.errors import RequestError

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def read_text(path: Path, max_bytes: int) -> str:
    """Return the text of a file in UTF-8, without its byte order mark and with Unix line ends.

    At most `max_bytes` are read, since a pipe need not end.

    Raises:
        RequestError: the file can't be read, is a device, is larger, or is in another encoding.
    """
    try:
        mode = path.stat().st_mode
        if S_ISCHR(mode) or S_ISBLK(mode):
            raise RequestError(f"{path} is a device, no file.", "name a text file.")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.", "check the path.") from None
    except ValueError as error:  # a null byte in the path
        raise RequestError(f"{str(path)!r}: {error}.", "check the path.") from None
    if len(content) > max_bytes:
        message = f"{path} has more than {max_bytes:,} bytes, too many for such a file."
        raise RequestError(message, "name a text file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _explain(path, content, content.count(b"\n", 0, error.start) + 1) from None
    if "\0" in text:
        raise _explain(path, content, text.partition("\0")[0].count("\n") + 1)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _explain(path: Path, content: bytes, line: int) -> RequestError:
    """Return the error for text that is not in UTF-8, with the command that converts it."""
    encoding = _guess_encoding(content)
    if encoding is None:
        return RequestError(f"{path} line {line}: no text.", "name a text file in UTF-8.")
    doubt = "it may be Latin-1" if encoding == "LATIN1" else f"it is {encoding}"
    source, target = path, path.with_name(f"{path.stem}.utf-8{path.suffix}")
    command = f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(source))}"
    message = f"{path} line {line}: not in UTF-8; {doubt}."
    return RequestError(message, f"{command} > {shlex.quote(str(target))}, and name that file.")


def _guess_encoding(content: bytes) -> str | None:
    """Return iconv's name of the likely encoding; None if the bytes are no text."""
    if content.startswith(UTF_32):
        return "UTF-32"
    if content.startswith(UTF_16):
        return "UTF-16"
    if content.count(b"\0") * 3 > len(content):  # every other byte of Western text in UTF-16
        return "UTF-16BE" if content[0] == 0 else "UTF-16LE"
    return None if b"\0" in content else "LATIN1"
