"""What a proof found, as one value: PROVEN or REJECTED, and why; and what became of the file."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from vit_export.artifact.budget import Budget, SearchResult
from vit_export.core.errors import ProofError
from vit_export.validation.compare import Comparison
from vit_export.validation.metrics import Judgement

Status = Literal["PROVEN", "BUILT, NOT RUN", "REJECTED"]
"""The second: what goes into the target's compiler is proven, and what came out can't run here."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Every answer of an artifact, held against the reference."""

    artifact: str
    runtime: str
    """Name and version of what ran it."""
    precision: str
    batches: tuple[int, ...]
    """The batch sizes that were run."""
    against_eager: tuple[Comparison, ...]
    """Each sample at each batch size, against eager PyTorch."""
    against_alone: tuple[Comparison, ...]
    """Each row of a batch, against the same image alone in the same artifact."""
    not_repeated: tuple[str, ...] = ()
    """Samples that could not be made again here, and so were left out."""
    failures: tuple[str, ...] = ()
    """What went wrong besides numbers: a batch size that does not run, a wrong shape, products
    that are not in the precision."""
    reference: str = "eager PyTorch, from the manifest"
    images: Judgement | None = None
    """What the artifact is worth on the user's images; it decides nothing but of auto."""
    not_run: str = ""
    """Why the artifact itself could not run here, where it was its graph that answered."""
    products: Mapping[str, int] = field(default_factory=dict)
    """Of an engine that ran, by arithmetic, as its inspector tells."""

    @classmethod
    def unopened(cls, artifact: Path, precision: str, reason: str) -> Self:
        """The verdict on a file that no runtime opens."""
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
        """REJECTED unless something was compared and nothing is wrong."""
        if self.problems or not self.against_eager:
            return "REJECTED"
        return "BUILT, NOT RUN" if self.not_run else "PROVEN"

    @property
    def accepted(self) -> bool:
        """Whether the artifact may take the name that was asked for."""
        return self.status != "REJECTED"

    @property
    def least_snr_db(self) -> float:
        """Of all answers."""
        return min((c.snr_db for c in self.against_eager), default=-math.inf)

    @property
    def problems(self) -> list[str]:
        """One sentence per thing that is wrong."""
        told = [
            f"{c.sample} in row {c.row} of a batch of {c.batch}{where}: {c.problem}"
            for where, found in (
                ("", self.against_eager),
                (", against the image alone", self.against_alone),
            )
            for c in found
            if not c.passed
        ]
        return [*self.failures, *told]

    @property
    def worst(self) -> Comparison | None:
        """The answer nearest to, or farthest over, what is allowed."""
        return max(
            self.against_eager, key=lambda c: c.max_abs / max(c.allowed, 1e-300), default=None
        )

    def within(self, budget: Budget) -> Self:
        """The verdict with what the user's images have to say of a budget."""
        judged, failures = self.images, []
        if judged is None:
            return self
        same, worst = judged.agreement, judged.worst_snr_db
        if same is not None and same.value < budget.min_top1:
            told = f"{same.hits} of {same.of} images keep their top class"
            failures.append(f"{told}, {budget.min_top1:.2%} are asked")
        if worst is not None and worst < budget.min_snr_db:
            told = f"{judged.worst_image} has {worst:.1f} dB"
            failures.append(f"{told}, {budget.min_snr_db:g} dB is asked")
        return replace(self, failures=(*self.failures, *failures))

    def to_mapping(self) -> Mapping[str, Any]:
        """Plain values, for JSON; infinities become strings there (`report`)."""
        images = self.images and self.images.to_mapping()
        return (
            {"status": self.status, "problems": self.problems} | asdict(self) | {"images": images}
        )


@dataclass(frozen=True)
class Origin:
    """Whose weights an artifact holds, and what its user has to know of them."""

    weights_from: str
    random_weights: bool
    """Right for speed and size, worthless for answers."""
    unused: Mapping[str, str]
    """Tensors of the checkpoint that the model has no use for, with the reason."""
    preprocessing: str = ""
    """What has to be said of it: that it is assumed, or was brought to another size."""
    calibration: str = ""
    """What has to be said of the images that scales were found on."""
    search: SearchResult | None = None
    """How precision auto was decided."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """An artifact that has taken its name."""

    path: Path
    size_bytes: int
    origin: Origin
    verdict: Verdict
    notes: tuple[str, ...] = ()
    """What has to be said of it besides, one sentence each."""

    @property
    def images(self) -> Judgement | None:
        """What it is worth on the user's images, where there are some."""
        return self.verdict.images


class RejectedError(ProofError):
    """An artifact is not the model; `verdict` says why."""

    def __init__(self, verdict: Verdict, fix: str) -> None:
        first = verdict.problems[0] if verdict.problems else "nothing could be compared"
        super().__init__(f"{verdict.artifact} is not the model: {first}.", fix)
        self.verdict = verdict
        self.details = {"verdict": verdict.to_mapping()}
