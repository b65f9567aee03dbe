"""The output of one module of an eager model, with which a file is compared."""

from dataclasses import dataclass

from vit_export.core.numerics import Array


@dataclass(frozen=True, eq=False)
class Tap:
    """The output of one module for one sample, a row per token."""

    fp32: Array
    """(rows, D); an artifact is compared with these values."""
    fp64: Array
    """(rows, D); the same values in double precision show how exact `fp32` is."""
