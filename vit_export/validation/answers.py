"""What a session answers to samples in batches of one size, row by row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vit_export.artifact.batch import order_samples
from vit_export.backends.session import RunFailedError, Session
from vit_export.core.numerics import Array
from vit_export.validation.samples import FileInputs


@dataclass(frozen=True, eq=False)
class Answer:
    """One row of a batch."""

    sample: int
    """Position of the sample in this row."""
    batch: int
    row: int
    values: Array


def run_batches(
    session: Session,
    file_inputs: FileInputs,
    usable: Sequence[int],
    size: int,
    *,
    sizes: Sequence[int],
    shape: tuple[int, ...],
) -> Iterator[Answer]:
    """Yield the answers to the samples that a proof runs in batches of `size`.

    Args:
        session: the open artifact.
        file_inputs: all samples.
        usable: positions of the samples that take part.
        size: the batch size, one of `sizes`.
        sizes: every batch size of the proof.
        shape: shape of the right answer to one image.

    Raises:
        RunFailedError: the runtime refuses, or answers another shape.
    """
    expected = (size, *shape)
    for batch in _make_batches(file_inputs, usable, size, sizes):
        answers = session.run(np.stack([file_inputs[i] for i in batch]))
        if answers.shape != expected:
            message = f"it answers {answers.shape} instead of {expected}"
            raise RunFailedError(message, "export the model again.")
        for row, (sample, values) in enumerate(zip(batch, answers, strict=True)):
            yield Answer(sample, size, row, values)


def _make_batches(
    file_inputs: FileInputs, usable: Sequence[int], size: int, sizes: Sequence[int]
) -> list[list[int]]:
    """Return batches of `size` samples, all of one shape.

    The smallest size runs the samples of every shape, a larger one those of the commonest shape.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i in usable:
        by_shape.setdefault(file_inputs[i].shape, []).append(i)
    groups = list(by_shape.values()) if size == min(sizes) else [max(by_shape.values(), key=len)]
    orders = [order_samples(group, size, sizes) for group in groups]
    return [order[start : start + size] for order in orders for start in range(0, len(order), size)]
