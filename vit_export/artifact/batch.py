"""`--batch dynamic|N|MIN:OPT:MAX`: what a file accepts, and at which sizes that is proven."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from vit_export.core.errors import RequestError

LARGEST_PROVEN = 16
FIX = "give dynamic, a number, or MIN:OPT:MAX as in 1:8:16."


@dataclass(frozen=True)
class Batch:
    """The batch sizes that a file takes: from `min` to `max`, and `opt` most of the time."""

    min: int = 1
    opt: int = 1
    max: int | None = None
    """None for any size."""
    several: tuple[Self, ...] = ()
    """The ranges of a file with more than one profile; they need not touch.

    `min` and `max` are then the ends of all ranges, and `opt` is that of the first.
    """

    @property
    def profiles(self) -> tuple[Self, ...]:
        """Every range. Most files have one, which is the batch itself."""
        return self.several or (self,)

    @property
    def fixed(self) -> int | None:
        """The one size of a static file; None for any other file."""
        return self.min if self.min == self.max and not self.several else None

    @property
    def proven(self) -> tuple[int, ...]:
        """The sizes that a proof runs: 1, 2, an odd one and 16, as far as the profiles allow."""
        if self.several:
            return tuple(sorted({size for one in self.several for size in one.proven}))
        largest = self.max or LARGEST_PROVEN
        sizes = {self.min, self.opt, largest, 1, 2, 3}
        return tuple(sorted(size for size in sizes if self.min <= size <= largest))

    def takes(self, size: int) -> bool:
        """Whether a file takes a batch of `size`."""
        return any(one.min <= size <= (one.max or size) for one in self.profiles)

    def nearest(self, size: int) -> int:
        """The size nearest to `size` that a file takes."""
        near = [max(one.min, min(size, one.max or size)) for one in self.profiles]
        return min(near, key=lambda candidate: abs(candidate - size))

    def __str__(self) -> str:
        if self.several:
            return ",".join(map(str, self.several))
        if self.fixed:
            return str(self.fixed)
        return f"{self.min}:{self.opt}:{self.max}" if self.max else "dynamic"

    @classmethod
    def parse(cls, batch: str | Sequence[str]) -> Self:
        """The batch of a text; several ranges are several texts, or have commas between them.

        Raises:
            RequestError: a text is not `dynamic`, N, or MIN:OPT:MAX in rising order.
        """
        text = batch if isinstance(batch, str) else ",".join(batch)
        if "," not in text:
            return cls._parse_range(text)
        several = tuple(cls._parse_range(one) for one in text.split(","))
        largest = [one.max for one in several if one.max is not None]
        if len(largest) < len(several):
            raise RequestError(f"batch {text}: dynamic stands alone.", FIX)
        return cls(min(one.min for one in several), several[0].opt, max(largest), several)

    @classmethod
    def _parse_range(cls, text: str) -> Self:
        if text == "dynamic":
            return cls()
        if not re.fullmatch(r"[1-9]\d{0,5}(:[1-9]\d{0,5}:[1-9]\d{0,5})?", text):
            raise RequestError(f"batch {text!r} is not a batch.", FIX)
        smallest, usual, largest = (int(size) for size in (text.split(":") * 3)[:3])
        if not smallest <= usual <= largest:
            raise RequestError(f"batch {text}: the sizes must rise.", FIX)
        return cls(smallest, usual, largest)


def order_samples(samples: Sequence[int], size: int, sizes: Sequence[int]) -> list[int]:
    """The samples that a proof runs in batches of `size`, which is one of `sizes`, in their order.

    The smallest size runs every sample, some of them twice to fill the last batch. A larger size
    runs one batch, each size of other samples.
    """
    if size == min(sizes):
        count = -(-len(samples) // size) * size
        return [samples[i % len(samples)] for i in range(count)]
    first = sum(other for other in sizes if other < size)
    return [samples[(first + i) % len(samples)] for i in range(size)]
