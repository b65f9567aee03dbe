"""The outcome of a proof as one value: PROVEN or REJECTED, and why."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from vit_export.artifact.budget import Budget
from vit_export.core.errors import ProofError
from vit_export.validation.compare import Comparison
from vit_export.validation.metrics import AccuracyReport

Status = Literal["PROVEN", "BUILT, NOT RUN", "REJECTED"]
"""BUILT, NOT RUN: the graph that went into a compiler is proven; its output cannot run here."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Every answer of an artifact, compared with the reference."""

    artifact: str
    runtime: str
    """Name and version of what ran the artifact."""
    precision: str
    batches: tuple[int, ...]
    """The batch sizes that were run."""
    samples: int = 0
    """Number of samples of the proof, with those that were left out."""
    against_eager: tuple[Comparison, ...]
    """Each answer at each batch size, compared with eager PyTorch's."""
    against_alone: tuple[Comparison, ...]
    """Each row of a batch, compared with the same artifact's answer to the image alone."""
    not_repeated: tuple[str, ...] = ()
    """Recipes of the samples that cannot be made again here and were left out."""
    caveats: tuple[str, ...] = ()
    """What the proof did not check, a phrase each; a proof without any is a bare PROVEN."""
    limit: str = ""
    """The minimum SNR of a sample, in words."""
    seed: int | None = None
    """Seed of the samples that were drawn for this proof alone; None without such samples."""
    failures: tuple[str, ...] = ()
    """Failures besides wrong numbers: a batch size that does not run, an answer of another shape,
    arithmetic in another precision. One sentence each."""
    reference: str = "the file's own answers"
    """Where the right answers come from, in words."""
    reading: str = ""
    """What confirms that the checkpoint was read rightly; empty where none was read."""
    elsewhere: tuple["Verdict", ...] = ()
    """The verdicts on the same file in the other runtimes that it is for."""
    images: AccuracyReport | None = None
    """The artifact's accuracy on the user's images; it decides only about precision auto."""
    not_run: str = ""
    """Why the artifact itself cannot run here, where its graph answered instead; else empty."""
    products: Mapping[str, int] = field(default_factory=dict)
    """Number of matmuls by arithmetic, from an engine's inspector; else empty."""
    emulated: Mapping[str, "Verdict"] = field(default_factory=dict)
    """The verdicts on emulated CPUs, by their names for `--on`."""

    @classmethod
    def reject(cls, artifact: Path, precision: str, reason: str) -> Self:
        """Return the verdict on a file that no runtime opens, for one `reason`."""
        return cls(
            artifact=str(artifact),
            runtime="none",
            precision=precision,
            batches=(),
            against_eager=(),
            against_alone=(),
            failures=(reason,),
        )

    @property
    def status(self) -> Status:
        """REJECTED if anything is wrong, or if nothing was compared."""
        if self.problems or not self.against_eager:
            return "REJECTED"
        return "BUILT, NOT RUN" if self.not_run else "PROVEN"

    @property
    def accepted(self) -> bool:
        """Whether the artifact may take the name that the user gave."""
        return self.status != "REJECTED"

    @property
    def here(self) -> Self:
        """The verdict without those on emulated CPUs."""
        return replace(self, emulated={})

    @property
    def least_snr_db(self) -> float:
        """The smallest signal-to-noise ratio of all answers; -inf without any answer."""
        return min((c.snr_db for c in self.against_eager), default=-math.inf)

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, one sentence each."""
        groups = (("", self.against_eager), (", against the image alone", self.against_alone))
        wrong_answers = [
            f"{c.subject} in row {c.row} of a batch of {c.batch}{where}: {c.problem}"
            for where, comparisons in groups
            for c in comparisons
            if not c.passed
        ]
        wrong_elsewhere = [
            f"in {one.runtime}: {problem}" for one in self.elsewhere for problem in one.problems
        ]
        emulated = [f"on {name}: {one}" for name, v in self.emulated.items() for one in v.problems]
        return [*self.failures, *wrong_answers, *wrong_elsewhere, *emulated]

    @property
    def is_wrong_elsewhere(self) -> bool:
        """Whether another runtime alone answers wrongly."""
        return bool(self.problems) and not replace(self, elsewhere=()).problems

    @property
    def worst(self) -> Comparison | None:
        """The answer whose error is the largest share of what is allowed."""
        return max(self.against_eager, key=lambda c: c.error_share, default=None)

    def add_failures(self, failures: Iterable[str]) -> Self:
        """Return the verdict with further failures, a sentence each."""
        return replace(self, failures=(*self.failures, *failures))

    def apply_budget(self, budget: Budget) -> Self:
        """Return the verdict of precision auto, which also fails if the images break `budget`."""
        report, failures = self.images, []
        if report is None:
            return self
        same, worst = report.agreement, report.worst_snr_db
        if same is not None and same.value < budget.min_top1:
            share = f"{same.hits} of {same.of} images keep their top class"
            failures.append(f"{share}, at least {budget.min_top1:.2%} are required")
        if worst is not None and worst < budget.min_snr_db:
            image = f"{report.worst_image} has {worst:.1f} dB"
            failures.append(f"{image}, at least {budget.min_snr_db:g} dB is required")
        return self.add_failures(failures)

    def to_mapping(self) -> Mapping[str, Any]:
        """Return plain values, for JSON; `core.to_json` writes infinities as strings."""
        further = {
            "images": self.images and self.images.to_mapping(),
            "elsewhere": [one.to_mapping() for one in self.elsewhere],
            "emulated": {name: one.to_mapping() for name, one in self.emulated.items()},
        }
        plain = asdict(replace(self, elsewhere=(), emulated={}))
        return {"status": self.status, "problems": self.problems} | plain | further


class RejectedError(ProofError):
    """An artifact is not the model; `verdict` says why."""

    def __init__(self, verdict: Verdict, fix: str) -> None:
        first = verdict.problems[0] if verdict.problems else "nothing could be compared"
        super().__init__(f"{verdict.artifact} is not the model: {first}.", fix)
        self.verdict = verdict
        self.details = {"verdict": verdict.to_mapping()}
