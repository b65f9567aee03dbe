"""Text from files and names as a terminal may show it: what would command the terminal is spelled.

A label, a path or an entry of metadata may hold escape sequences, which move the cursor, rename the
window or write the clipboard, and marks that turn the direction of the text around.
"""

import re

_LINE_ENDS = "\n\t"
_COMMANDS = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of text
    r"\u2028\u2029"  # further ends of a line
    r"\ud800-\udfff]"  # half a character, as in a name that is not UTF-8
)
_FIRST_BYTE, _LAST_BYTE, _BYTES = 0xDC80, 0xDCFF, 0xDC00
"""Python's stand-ins for the bytes of a name that is not UTF-8 (PEP 383)."""


def make_printable(text: str, *, lines: bool = False) -> str:
    r"""Return the text with control characters and stray bytes as `\x1b` or `\u202e`.

    Args:
        text: what to print.
        lines: whether the text may have several lines, and tabs.
    """
    return _COMMANDS.sub(lambda one: _spell(one[0], lines=lines), text)


def _spell(character: str, *, lines: bool) -> str:
    if lines and character in _LINE_ENDS:
        return character
    code = ord(character)
    if _FIRST_BYTE <= code <= _LAST_BYTE:
        code -= _BYTES
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return short.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 one byte
