"""The GPUs that an engine is for, by the names of their architectures and compute capabilities."""

import re
from collections.abc import Iterable
from typing import Any

from vit_export.core.errors import RequestError, did_you_mean

TURING = "7.5"
ARCHITECTURES = {
    "turing": (TURING,),
    "ampere": ("8.0", "8.6"),
    "ada": ("8.9",),
    "blackwell": ("12.0", "12.1"),
}
"""The architectures that TensorRT for RTX 1.7 compiles for (its enumeration `ComputeCapability`).

Hopper (9.0) and the Blackwell of data centers (10.x) are not among them.
"""
OLDEST = "8.0"
"""The oldest capability that an engine is for by default."""
KNOWN = tuple(one for several in ARCHITECTURES.values() for one in several)
MEMBER = re.compile(r"SM(\d+)(\d)")
"""A member of `ComputeCapability`: SM89, SM120."""


def list_capabilities(library: Any = None) -> tuple[str, ...]:
    """Return the compute capabilities that TensorRT for RTX names, in rising order.

    Args:
        library: its module; without one, or without the enumeration, those of version 1.7.
    """
    names = dir(getattr(library, "ComputeCapability", None))
    members = filter(None, map(MEMBER.fullmatch, names))
    capabilities = [f"{member[1]}.{member[2]}" for member in members]
    return tuple(sorted(capabilities or KNOWN, key=parse_version))


def list_default_capabilities(library: Any = None) -> tuple[str, ...]:
    """Return those for which TensorRT for RTX compiles by default: all but Turing."""
    oldest = parse_version(OLDEST)
    return tuple(one for one in list_capabilities(library) if parse_version(one) >= oldest)


def parse_capabilities(text: str) -> tuple[str, ...]:
    """Return `ampere,8.9` as compute capabilities in rising order; none for an empty text.

    Raises:
        RequestError: an architecture or a capability is not known.
    """
    capabilities: set[str] = set()
    for name in filter(None, (one.strip().lower() for one in text.split(","))):
        if name not in ARCHITECTURES and name not in KNOWN:
            fix = did_you_mean(name, [*ARCHITECTURES, *KNOWN])
            raise RequestError(f"There is no GPU {name!r} to build for.", fix)
        capabilities |= set(ARCHITECTURES.get(name, (name,)))
    return tuple(sorted(capabilities, key=parse_version))


def check_arithmetic(capabilities: Iterable[str], precision: str) -> None:
    """Raise RequestError unless TensorRT for RTX compiles `precision` for all of these GPUs."""
    if TURING in capabilities and precision != "fp16":
        message = (
            f"For Turing ({TURING}) matmuls are compiled in fp16 alone, and not in {precision}."
        )
        raise RequestError(message, "take --fp16, or leave turing out of --gpu.")


def parse_version(version: str) -> tuple[int, ...]:
    """Return `12.0` as (12, 0), for comparisons, up to the first part that is no number."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def describe_capabilities(capabilities: Iterable[str]) -> str:
    """Return `compute capability 8.6, 8.9`, or the default where there are none."""
    listed = ", ".join(capabilities)
    return f"compute capability {listed or f'{OLDEST} and later'}"
