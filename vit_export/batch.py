"""`--batch dynamic|N|MIN:OPT:MAX`: what a file accepts, and at which sizes that is proven."""

import re
from dataclasses import dataclass
from typing import Self

from vit_export.errors import RequestError

LARGEST_PROVEN = 16


@dataclass(frozen=True)
class Batch:
    """The batch sizes that a file is made for: `least` to `most`, mostly `usual`."""

    least: int = 1
    usual: int = 1
    most: int | None = None
    """None: any."""

    @property
    def fixed(self) -> int | None:
        """The one size of a static file."""
        return self.least if self.least == self.most else None

    @property
    def proven(self) -> tuple[int, ...]:
        """The sizes a proof runs: 1, 2, an odd one and 16, or those that a profile allows."""
        most = self.most or LARGEST_PROVEN
        wanted = {self.least, self.usual, most, 1, 2, 3}
        return tuple(sorted(size for size in wanted if self.least <= size <= most))

    def takes(self, size: int) -> bool:
        """Whether a file made for this takes a batch of `size`."""
        return self.least <= size <= (self.most or size)

    def nearest(self, size: int) -> int:
        """The size nearest to `size` that a file made for this takes."""
        return max(self.least, min(size, self.most or size))

    def __str__(self) -> str:
        if self.fixed:
            return str(self.fixed)
        return f"{self.least}:{self.usual}:{self.most}" if self.most else "dynamic"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The batch that `text` says.

        Raises:
            RequestError: something else than `dynamic`, N or MIN:OPT:MAX in rising order.
        """
        fix = "give dynamic, a number, or MIN:OPT:MAX as in 1:8:16."
        if text == "dynamic":
            return cls()
        if not re.fullmatch(r"[1-9]\d{0,5}(:[1-9]\d{0,5}:[1-9]\d{0,5})?", text):
            raise RequestError(f"batch {text!r} is not a batch.", fix)
        least, usual, most = (int(size) for size in (text.split(":") * 3)[:3])
        if not least <= usual <= most:
            raise RequestError(f"batch {text}: the sizes must rise.", fix)
        return cls(least, usual, most)
