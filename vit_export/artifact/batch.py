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
    """The batch sizes that a file is made for: `least` to `most`, mostly `usual`."""

    least: int = 1
    usual: int = 1
    most: int | None = None
    """None: any."""
    several: tuple[Self, ...] = ()
    """Ranges that do not have to touch, where there are more than one; then `least` and `most` are
    the ends of all, and `usual` is that of the first."""

    @property
    def profiles(self) -> tuple[Self, ...]:
        """Every range; mostly that is this one."""
        return self.several or (self,)

    @property
    def fixed(self) -> int | None:
        """The one size of a static file."""
        return self.least if self.least == self.most and not self.several else None

    @property
    def proven(self) -> tuple[int, ...]:
        """The sizes a proof runs: 1, 2, an odd one and 16, or those that the profiles allow."""
        if self.several:
            return tuple(sorted({size for one in self.several for size in one.proven}))
        most = self.most or LARGEST_PROVEN
        wanted = {self.least, self.usual, most, 1, 2, 3}
        return tuple(sorted(size for size in wanted if self.least <= size <= most))

    def takes(self, size: int) -> bool:
        """Whether a file made for this takes a batch of `size`."""
        return any(one.least <= size <= (one.most or size) for one in self.profiles)

    def nearest(self, size: int) -> int:
        """The size nearest to `size` that a file made for this takes."""
        near = [max(one.least, min(size, one.most or size)) for one in self.profiles]
        return min(near, key=lambda found: abs(found - size))

    def __str__(self) -> str:
        if self.several:
            return ",".join(map(str, self.several))
        if self.fixed:
            return str(self.fixed)
        return f"{self.least}:{self.usual}:{self.most}" if self.most else "dynamic"

    @classmethod
    def parse(cls, given: str | Sequence[str]) -> Self:
        """The batch that `given` says; several ranges stand apart, or have commas between them.

        Raises:
            RequestError: something else than `dynamic`, N or MIN:OPT:MAX in rising order.
        """
        text = given if isinstance(given, str) else ",".join(given)
        if "," not in text:
            return cls._one(text)
        several = tuple(cls._one(one) for one in text.split(","))
        mosts = [one.most for one in several if one.most is not None]
        if len(mosts) < len(several):
            raise RequestError(f"batch {text}: dynamic stands alone.", FIX)
        least = min(one.least for one in several)
        return cls(least, several[0].usual, max(mosts), several)

    @classmethod
    def _one(cls, text: str) -> Self:
        if text == "dynamic":
            return cls()
        if not re.fullmatch(r"[1-9]\d{0,5}(:[1-9]\d{0,5}:[1-9]\d{0,5})?", text):
            raise RequestError(f"batch {text!r} is not a batch.", FIX)
        least, usual, most = (int(size) for size in (text.split(":") * 3)[:3])
        if not least <= usual <= most:
            raise RequestError(f"batch {text}: the sizes must rise.", FIX)
        return cls(least, usual, most)


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
