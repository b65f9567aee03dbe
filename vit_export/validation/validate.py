"""The proof: an open artifact answers like the reference, at every batch size, image by image."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.artifact.batch import Batch, order_samples
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import align_for_comparison, align_rows, infer_output_shape
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.backends import find_backend
from vit_export.backends.session import RunFailedError, Session
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, silent
from vit_export.validation.compare import Comparison, compare
from vit_export.validation.sample_set import Inputs
from vit_export.validation.samples import digest
from vit_export.validation.verdict import Verdict


def prove(
    session: Session,
    artifact: Path,
    reference: Reference,
    samples: Inputs,
    *,
    batch: Batch,
    precision: str,
    tolerance: Tolerance,
    classifies: bool,
    head: str = "logits",
    progress: Progress = silent,
    source: str = "eager PyTorch",
    not_run: str = "",
) -> Verdict:
    """The verdict on `session`, which answers `samples`, M images, alone and in batches.

    Samples that differ from those the reference saw (another Pillow, another CPU) are left out and
    named. A batch size that does not run is a failure like a wrong number. `not_run` says why the
    artifact could not be opened here, when `session` is one on the graph it was made of.
    """
    kept = [i for i, made in enumerate(samples) if digest(made) == reference.digests[i]]
    judge = _Judge(reference, tolerance, head, classifies=classifies)
    failures: list[str] = []
    for size in batch.proven if kept else ():
        with progress(f"prove batch {size}"):
            try:
                for order in _orders(kept, samples, size, batch.proven):
                    judge.batch(session, samples, order, size)
            except RunFailedError as error:
                failures.append(f"batch {size} does not run: {error.message}")
    return Verdict(
        artifact=str(artifact),
        runtime=session.runtime,
        precision=precision,
        batches=batch.proven,
        against_eager=tuple(judge.against_eager),
        against_alone=tuple(judge.against_alone),
        not_repeated=tuple(reference.recipes[i] for i in range(len(samples)) if i not in kept),
        failures=tuple(failures),
        reference=source,
        not_run=not_run,
    )


def prove_artifact(
    session: Session,
    artifact: Path,
    manifest: Manifest,
    reference: Reference,
    samples: Inputs,
    **told: Any,
) -> Verdict:
    """The verdict on an artifact by all that its manifest says of it; `told` is as in `prove`.

    What its backend finds wrong with the open file besides its answers is a failure too.
    """
    verdict = prove(
        session,
        artifact,
        reference,
        samples,
        batch=manifest.batch,
        precision=manifest.precision,
        tolerance=manifest.tolerance,
        classifies=manifest.signature.classifies,
        head=manifest.head,
        **told,
    )
    problems = find_backend(manifest.target).check_built(session, manifest)
    return replace(
        verdict,
        failures=(*verdict.failures, *problems),
        products=session.matmuls_by_dtype(),
    )


def _orders(
    kept: Sequence[int], samples: Inputs, size: int, sizes: Sequence[int]
) -> list[list[int]]:
    """What is run in batches of `size`, of images of one shape each.

    Of images of several shapes a larger batch gets those of which there are most.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for i in kept:
        alike.setdefault(samples[i].shape, []).append(i)
    groups = list(alike.values()) if size == min(sizes) else [max(alike.values(), key=len)]
    return [order_samples(group, size, sizes) for group in groups]


class _Judge:
    """Collects comparisons over batches; remembers what each image answered alone."""

    def __init__(
        self, reference: Reference, tolerance: Tolerance, head: str, *, classifies: bool
    ) -> None:
        self.reference = reference
        self.tolerance = tolerance
        self.head = head
        self.classifies = classifies
        self.alone: dict[int, Array] = {}
        self.against_eager: list[Comparison] = []
        self.against_alone: list[Comparison] = []

    def batch(
        self,
        session: Session,
        samples: Inputs,
        order: Sequence[int],
        size: int,
    ) -> None:
        """Runs the samples of `order` in batches of `size` and judges every row."""
        for start in range(0, len(order), size):
            chosen = list(order[start : start + size])
            answers = session.run(np.stack([samples[i] for i in chosen]))
            expected = (size, *infer_output_shape(self.head, self.reference.answers.shape[1:]))
            if answers.shape != expected:
                message = f"it answers {answers.shape} instead of {expected}"
                raise RunFailedError(message, "export the model again.")
            for row, (index, answer) in enumerate(zip(chosen, answers, strict=True)):
                self._judge(index, answer, size, row)

    def _judge(self, index: int, answer: Array, size: int, row: int) -> None:
        eager = align_for_comparison(self.head, self.reference.answers[index], answer)
        against = [(eager, self.against_eager, self.tolerance)]
        if index in self.alone:
            rows = align_rows(self.head, self.alone[index], answer)
            against.append((rows, self.against_alone, self.tolerance.against_alone))
        elif size == 1:
            self.alone[index] = answer
        for (expected, answered), found, tolerance in against:
            found.append(
                compare(
                    expected,
                    answered,
                    self.reference.floors[index],
                    tolerance,
                    classifies=self.classifies,
                    sample=self.reference.recipes[index],
                    batch=size,
                    row=row,
                )
            )
