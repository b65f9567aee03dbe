"""The signal of each output of a model, against which errors of its answers are measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from vit_export.artifact.outputs import (
    LOGITS,
    OutputHead,
    align_for_comparison,
    measure_output_signal,
)
from vit_export.artifact.reference import Reference
from vit_export.core.numerics import Array, snr_db
from vit_export.model.signature import Signature


@dataclass(frozen=True, kw_only=True)
class OutputSignals:
    """The signals of a model's outputs in a proof (`core.numerics`)."""

    signature: Signature
    """The outputs of the model."""
    signals: tuple[float, ...]
    """One number for each output."""
    head: OutputHead = LOGITS
    """What stands behind the model in a file."""

    @classmethod
    def measure(cls, reference: Reference, signature: Signature, head: OutputHead = LOGITS) -> Self:
        """The signals of the right answers to the samples of a proof."""
        parts = reference.split(signature)
        signals = tuple(measure_output_signal(head, one.answers) for _, one in parts)
        return cls(signature=signature, signals=signals, head=head)

    def find_worst_snr_db(self, right: Array, answer: Array) -> float:
        """The least signal-to-noise ratio of the outputs in one answer to one image."""
        return min(self._list_snrs_db(right, answer))

    def _list_snrs_db(self, right: Array, answer: Array) -> Iterator[float]:
        pairs = self.signature.split(right), self.signature.split(answer)
        for (_, expected), (_, values), signal in zip(*pairs, self.signals, strict=True):
            yield snr_db(signal, *align_for_comparison(self.head, expected, values))
