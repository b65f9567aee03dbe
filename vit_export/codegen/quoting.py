"""Text of a model in the languages of a project: one quoting function for each language.

Anybody may have written the text of a manifest, so it enters a file through these functions alone.
The templates call them as filters of the same name, and refuse to print a bare `ManifestText`.
"""

import re
import shlex
from dataclasses import dataclass
from typing import Never

ESCAPED_IN_CMAKE = re.compile(r'[\\"$@;#()]')
ESCAPED_IN_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~#]")
TRIGRAPH = "??"
"""Begins a trigraph in C++14; `??/` at the end of a line joins it with the next line."""


@dataclass(frozen=True)
class ManifestText:
    """Text from a manifest, which no file may hold before it is quoted."""

    text: str

    def __str__(self) -> Never:
        """Raise TypeError, because unquoted text is a fault of a template."""
        raise TypeError("text of a manifest has to pass a quoting function")


def quote_cpp(value: ManifestText) -> str:
    """Return a C++ string literal of the UTF-8 bytes of a text."""
    return '"' + "".join(map(_escape_byte, value.text.encode())) + '"'


def _escape_byte(byte: int) -> str:
    """Return a byte inside a C++ literal; octal escapes have three digits and so an end."""
    character = chr(byte)
    if character in '"\\?':
        return "\\" + character
    return character if " " <= character <= "~" else f"\\{byte:03o}"


def quote_cmake(value: ManifestText) -> str:
    """Return a quoted argument of CMake; control characters are left out."""
    return '"' + ESCAPED_IN_CMAKE.sub(r"\\\g<0>", _keep_printable(value.text)) + '"'


def quote_shell(value: ManifestText) -> str:
    """Return one word of a POSIX shell."""
    return shlex.quote(value.text)


def quote_comment(value: ManifestText) -> str:
    """Return the rest of a line comment of C++, which the next line does not continue."""
    text = _keep_printable(value.text).replace("\\", "/")
    while TRIGRAPH in text:
        text = text.replace(TRIGRAPH, "?")
    return text


def quote_markdown(value: ManifestText) -> str:
    """Return text of one line of Markdown, without a markup or HTML of its own."""
    return ESCAPED_IN_MARKDOWN.sub(r"\\\g<0>", _keep_printable(value.text))


def _keep_printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())


QUOTING = {
    "cpp": quote_cpp,
    "cmake": quote_cmake,
    "shell": quote_shell,
    "comment": quote_comment,
    "markdown": quote_markdown,
}
"""The functions by the names of the filters in the templates."""
