"""Contestants at the start: each in its process, with what is told of it besides its times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.tensorrt.sidecar import is_engine
from vit_export.bench.accuracy import calibration_of, exam_of, weights_for_peers
from vit_export.bench.baselines import peers
from vit_export.bench.candidates import GPU, Contestant, arithmetic_of
from vit_export.bench.interleave import Worker
from vit_export.core.errors import RequestError
from vit_export.core.staging import data_files


@dataclass(frozen=True, eq=False)
class Known:
    """An artifact before it runs."""

    path: Path
    manifest: Manifest
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A contestant in its process."""

    worker: Worker
    size_bytes: int | None
    worst_snr_db: float | None
    """Against eager PyTorch; None where its weights are not the model's."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()


def look_at(path: Path, batches: Sequence[int]) -> Known:
    """The artifact at `path`, which has to take all `batches`.

    Raises:
        RequestError: no artifact of ours, or a batch that it does not take.
    """
    manifest = read_manifest(open_artifact(path), path)
    manifest.check_plain(path)
    for batch in batches:
        if not manifest.batch.takes(batch):
            message = f"{path} takes batch {manifest.batch}, not {batch}."
            raise RequestError(message, "give another --batch.")
    size = sum(file.stat().st_size for file in (path, *data_files(path)))
    return Known(path, manifest, size)


def entrant(known: Known, threads: int | None, folder: Path) -> Entrant:
    """An artifact in its process."""
    contestant = Contestant(
        name=known.path.name,
        kind="artifact",
        arithmetic=GPU if is_engine(known.path) else arithmetic_of(known.manifest.precision),
        path=str(known.path),
        threads=threads,
    )
    worker = Worker(contestant)
    snr = exam_of(known.manifest).worst_snr_db(worker, folder)
    return Entrant(worker=worker, size_bytes=known.size_bytes, worst_snr_db=snr)


def peer_entrants(
    known: Known, names: Sequence[str], weights: Path | None, threads: int | None, folder: Path
) -> Iterator[Entrant]:
    """Peers with the artifact's own weights; with random ones where nothing brings those.

    Those that need scales are calibrated on the samples that all are examined on.

    Raises:
        RequestError: `weights` are not the artifact's.
    """
    if not names:
        return
    same = weights_for_peers(known.manifest, weights, folder)
    exam = exam_of(known.manifest)
    batches = calibration_of(exam, known.manifest)
    spec = known.manifest.require_spec()
    for contestant in peers(names, spec, same, batches=batches, folder=folder, threads=threads):
        worker = Worker(contestant)
        snr = exam.worst_snr_db(worker, folder) if same else None
        size = Path(contestant.path).stat().st_size if contestant.path else None
        yield Entrant(worker=worker, size_bytes=size, worst_snr_db=snr)
