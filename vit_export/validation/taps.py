"""The modules of a file beside those of its model, whatever kind of model it is."""

from collections.abc import Mapping
from typing import Protocol

from vit_export.core.numerics import Array
from vit_export.model.taps import Tap


class PairedTaps(Protocol):
    """The outputs of a file's modules, and what eager PyTorch answers in their place."""

    def answer(self, sample: Array) -> Mapping[str, Array]:
        """Return the outputs (rows, D) of the file's modules by name, for one `sample`."""
        ...

    def expect(self, sample: Array) -> Mapping[str, Tap]:
        """Return the outputs of eager PyTorch for the same modules, in running order."""
        ...

    def expect_fp32(self, sample: Array) -> Mapping[str, Array]:
        """Return the same in fp32 alone."""
        ...
