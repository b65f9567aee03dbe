"""The GPUs that an engine is for, by the names of their architectures and compute capabilities."""

from collections.abc import Iterable

from vit_export.core.errors import RequestError, did_you_mean

TURING = "7.5"
ARCHITECTURES = {
    "turing": (TURING,),
    "ampere": ("8.0", "8.6"),
    "ada": ("8.9",),
    "blackwell": ("12.0", "12.1"),
}
"""The architectures that TensorRT for RTX compiles for (its `ComputeCapability`)."""
OLDEST = "8.0"
"""By default TensorRT for RTX compiles for this capability and later ones."""
KNOWN = tuple(one for several in ARCHITECTURES.values() for one in several)


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
