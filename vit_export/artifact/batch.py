"""`--batch dynamic|N|MIN:OPT:MAX`: the batch sizes that a file accepts, and those of its proof."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from vit_export.core.errors import RequestError
from vit_export.core.from_json import read_value

MAX_PROVEN_BATCH = 16
"""Largest batch that the proof of a dynamic file runs."""
MAX_BATCH = 4096
"""Largest batch of any file: 2.4 GB of images at 224 pixels."""
FIX = "give dynamic, a number, or MIN:OPT:MAX as in 1:8:16."


@dataclass(frozen=True)
class Batch:
    """The batch sizes that a file accepts: from `min` to `max`, optimized for `opt`."""

    min: int = 1
    opt: int = 1
    max: int | None = None
    """None if there is no upper limit."""
    several: tuple[Self, ...] = ()
    """The ranges of a file with several optimization profiles, which may leave gaps.

    Then `min` and `max` are the ends of all ranges together, and `opt` is that of the first.
    """

    @property
    def profiles(self) -> tuple[Self, ...]:
        """All ranges; most files have a single one, which is this batch itself."""
        return self.several or (self,)

    @property
    def fixed(self) -> int | None:
        """The only size of a file with a fixed batch; None for any other file."""
        return self.min if self.min == self.max and not self.several else None

    @property
    def proven(self) -> tuple[int, ...]:
        """The sizes that a proof runs: `min`, `opt`, `max` or 16, and 1, 2 and 3 where accepted."""
        if self.several:
            return tuple(sorted({size for one in self.several for size in one.proven}))
        largest = self.max or MAX_PROVEN_BATCH
        sizes = {self.min, self.opt, largest, 1, 2, 3}
        return tuple(sorted(size for size in sizes if self.min <= size <= largest))

    def takes(self, size: int) -> bool:
        """Whether a file accepts a batch of `size`."""
        return any(one.min <= size <= (one.max or size) for one in self.profiles)

    def nearest(self, size: int) -> int:
        """The size nearest to `size` that a file accepts."""
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
        """Parse `dynamic`, N or MIN:OPT:MAX; several ranges are a list, or separated by commas.

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
    def from_json(cls, value: object, where: str) -> Self:
        """Parse the batch of a manifest; errors name `where`, the file."""
        try:
            return cls.parse(read_value(str, value, "batch"))
        except RequestError as error:
            raise RequestError(f"{where}{error.message}", error.fix) from None

    @classmethod
    def _parse_range(cls, text: str) -> Self:
        if text == "dynamic":
            return cls()
        if not re.fullmatch(r"[1-9]\d{0,5}(:[1-9]\d{0,5}:[1-9]\d{0,5})?", text):
            raise RequestError(f"batch {text!r} is not a batch.", FIX)
        smallest, optimum, largest = (int(size) for size in (text.split(":") * 3)[:3])
        if largest > MAX_BATCH:
            raise RequestError(
                f"batch {text}: {largest} is too large.", f"take {MAX_BATCH} at most."
            )
        if not smallest <= optimum <= largest:
            raise RequestError(f"batch {text}: the sizes must rise.", FIX)
        return cls(smallest, optimum, largest)


def order_samples(samples: Sequence[int], size: int, sizes: Sequence[int]) -> list[int]:
    """The samples that a proof runs in batches of `size`, in order.

    The smallest of `sizes` runs every sample, and repeats the first ones to fill the last batch.
    Each larger size runs a single batch, which starts at another sample.
    """
    if size == min(sizes):
        count = -(-len(samples) // size) * size
        return [samples[i % len(samples)] for i in range(count)]
    first = sum(other for other in sizes if other < size)
    return [samples[(first + i) % len(samples)] for i in range(size)]
