"""Names that a project takes from outside: of its library, and of the classes."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from vit_export.core.errors import RequestError

NAME = re.compile("[A-Za-z](?:_?[A-Za-z0-9]){0,63}")
"""A name in C++, CMake and file systems; C++ reserves names with two underscores in a row."""
RESERVED = frozenset(
    """
    alignas alignof and asm auto bitand bitor bool break case catch char class compl concept const
    constexpr continue decltype default delete do double else enum explicit export extern false
    float for friend goto if inline int long mutable namespace new noexcept not nullptr operator or
    private protected public register requires return short signed sizeof static struct switch
    template this throw true try typedef typeid typename union unsigned using virtual void volatile
    while xor linux unix std vit detail model image error options torch c10 onnxruntime
    all clean help install test package
    """.split()  # noqa: SIM905 ninety words read better without their quotes
)
"""Words of C++ and CMake, and names that a project has already, in lower case."""


def choose_name(model: str) -> str:
    """Return the name of a model as a name in C++ and CMake."""
    name = "_".join(re.findall("[A-Za-z0-9]+", model))[:60].rstrip("_")
    if not name or name[0].isdigit() or name.lower() in RESERVED:
        name = f"model_{name}".rstrip("_") if name else "any_model"
    return name


def check_name(name: str) -> str:
    """Return `name` if it can be the name of a library.

    Raises:
        RequestError: CMake or C++ does not take it.
    """
    if NAME.fullmatch(name) and name.lower() not in RESERVED:
        return name
    message = f"--name {name!r} can't name a library and a namespace."
    fix = f"give letters, digits and single underscores, as in --name {choose_name(name)}."
    raise RequestError(message, fix)


def check_labels(labels: Sequence[str], artifact: Path) -> None:
    """Raise RequestError unless a file of one label per line can hold all labels."""
    for index, label in enumerate(labels):
        if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in label):
            reason = f"has a line break or another control character: {label!a}"
            message = f"{artifact}: the label of class {index} {reason}."
            raise RequestError(message, "export it with --labels FILE, whose labels have none.")
