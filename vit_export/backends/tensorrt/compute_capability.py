"""Which GPUs an engine is for, by the names of their architectures and by compute capability."""

from collections.abc import Iterable

from vit_export.core.errors import RequestError, did_you_mean

TURING = "7.5"
ARCHITECTURES = {
    "turing": (TURING,),
    "ampere": ("8.0", "8.6"),
    "ada": ("8.9",),
    "blackwell": ("12.0", "12.1"),
}
"""Those that TensorRT for RTX compiles for (its `ComputeCapability`)."""
LEAST = "8.0"
"""What it compiles for when nothing is said: this and everything later."""
KNOWN = tuple(one for several in ARCHITECTURES.values() for one in several)


def capabilities_of(text: str) -> tuple[str, ...]:
    """`ampere,8.9` as compute capabilities, rising; nothing for an empty text.

    Raises:
        RequestError: an architecture or a capability that is not known.
    """
    found: set[str] = set()
    for name in filter(None, (one.strip().lower() for one in text.split(","))):
        if name not in ARCHITECTURES and name not in KNOWN:
            fix = did_you_mean(name, [*ARCHITECTURES, *KNOWN])
            raise RequestError(f"There is no GPU {name!r} to build for.", fix)
        found |= set(ARCHITECTURES.get(name, (name,)))
    return tuple(sorted(found, key=numbers_of))


def check_arithmetic(capabilities: Iterable[str], precision: str) -> None:
    """Nothing, when TensorRT for RTX compiles for all of these what `precision` multiplies in.

    Raises:
        RequestError: it does not.
    """
    if TURING in capabilities and precision != "fp16":
        message = f"For Turing ({TURING}) products are compiled in fp16 alone, and not {precision}."
        raise RequestError(message, "take --fp16, or leave turing out of --gpu.")


def numbers_of(version: str) -> tuple[int, ...]:
    """`12.0` as (12, 0), for what is compared; what is no number ends it."""
    found = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)


def in_words(capabilities: Iterable[str]) -> str:
    """`8.6, 8.9`, or what holds without any."""
    told = ", ".join(capabilities)
    return f"compute capability {told}" if told else f"compute capability {LEAST} and later"
