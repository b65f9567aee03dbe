"""Rotary positions: queries and keys turn by angles that follow from the places of their patches.

RoPE is arXiv:2104.09864. The models of images turn one half of the channels by the row and the
other half by the column (EVA-02, arXiv:2303.11331; DINOv3, arXiv:2508.10104), or every channel by a
learned mixture of both (RoPE-ViT, arXiv:2403.13298).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from vit_export.core.dataclass_checks import check_names, check_types
from vit_export.core.errors import RequestError

Frequencies = Literal["fixed", "learned"]
Coordinates = Literal["centres", "indices"]
Order = Literal["rows", "columns"]
Pairs = Literal["halves", "interleaved"]
LARGEST = 1e12
"""Bound of the numbers: published models have 10000 at most."""


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """How queries and keys turn; tokens that are no patches do not turn.

    d are the channels of a head. Frequency i of d/4 is `base ** (-4 i / d)`.
    """

    frequencies: Frequencies = "fixed"
    """`fixed` ones follow from `base`; `learned` ones are weights of each head of each block."""
    base: float = 100.0
    """Ratio between the frequencies; ignored if they are learned."""
    coordinates: Coordinates = "centres"
    """Numbers that multiply the frequencies.

    `centres` are those of the patches, from -1 to 1 on each side, times 2π. `indices` are the
    numbers of their rows and columns.
    """
    offset: float = 0.0
    """Patches added to every row and column."""
    reference_grid: tuple[int, int] | None = None
    """Rows and columns of the grid that `indices` of any other are scaled to; None scales none."""
    first: Order = "rows"
    """Which coordinate turns the first half of the pairs, or multiplies the first frequencies."""
    pairs: Pairs = "halves"
    """Channels that turn together: i and i + d/2 (`halves`), or 2i and 2i + 1 (`interleaved`)."""

    def __post_init__(self) -> None:
        check_types(self)
        for name, smallest in (("base", 0.0), ("offset", -LARGEST)):
            value = getattr(self, name)
            if not smallest < value < LARGEST:  # NaN is not either
                raise RequestError(f"rotary.{name} is {value}.", f"give {name} of a real model.")
        if self.reference_grid is not None and not all(
            0 < n < LARGEST for n in self.reference_grid
        ):
            message = f"rotary.reference_grid is {self.reference_grid}."
            raise RequestError(message, "give the rows and the columns of a grid.")

    def describe(self) -> str:
        """Return the record in a few words, for reports."""
        if self.frequencies == "learned":
            return "with learned frequencies"
        return f"{self.coordinates} with base {self.base:g}"

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Return the record of a TOML or JSON table.

        Raises:
            RequestError: a field is unknown or of the wrong type.
        """
        check_names(values, cls, "rotary")
        grid = values.get("reference_grid")
        return cls(**{**values, "reference_grid": tuple(grid) if isinstance(grid, list) else grid})


def read_rotary(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `rotary` of the fields of a spec as a record; an empty dict if there is none.

    Raises:
        RequestError: it is no table, or a field of it is unknown or of the wrong type.
    """
    rotary = values.get("rotary")
    if rotary is None or isinstance(rotary, Rotary):
        return {}
    if not isinstance(rotary, Mapping):
        raise RequestError(f"rotary is {rotary!r}.", "give a table of its fields.")
    return {"rotary": Rotary.from_mapping(rotary)}
