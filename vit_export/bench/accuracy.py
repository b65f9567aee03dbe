"""How near contestants answer to eager PyTorch, on the samples of an artifact's manifest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.bench.interleave import Worker
from vit_export.checkpoints.from_manifest import same_vit
from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array, snr_db
from vit_export.validation.samples import digest, make_samples

NOISE = 8
"""How many batches of noise stand in where no sample can be made."""


@dataclass(frozen=True, eq=False)
class Exam:
    """Samples with the answers of eager PyTorch to each."""

    samples: Array
    """(M, B, C, H, W): each sample as a batch that the artifact takes."""
    answers: Array
    """(M, *spec.answer_shape)"""

    def worst_snr_db(self, worker: Worker, folder: Path) -> float | None:
        """Of all samples the worst; None where no sample could be made again here."""
        if not len(self.samples):
            return None
        found = worker.answers(self.samples, folder)
        return min(snr_db(mine, theirs) for mine, theirs in zip(self.answers, found, strict=True))


def exam_of(manifest: Manifest) -> Exam:
    """The samples of `manifest` that can be made again here."""
    reference = manifest.reference
    samples = make_samples(reference.recipes, manifest.require_spec(), manifest.preprocessing)
    kept = [i for i, one in enumerate(samples) if digest(one) == reference.digests[i]]
    batches = np.repeat(samples[kept][:, None], manifest.batch.least, axis=1)
    return Exam(batches, reference.answers[kept])


def calibration_of(exam: Exam, manifest: Manifest) -> Array:
    """Batches (M, B, C, H, W) for peers to calibrate on: the exam's own; without any, noise."""
    if len(exam.samples):
        return exam.samples
    spec = manifest.require_spec()
    shape = (NOISE, manifest.batch.least, spec.channels, *spec.image_size)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def weights_for_peers(manifest: Manifest, weights: Path | None, folder: Path) -> str:
    """A safetensors file with the artifact's weights, for its peers; empty where nothing has them.

    Raises:
        RequestError: `weights` are not those of the artifact.
    """
    from safetensors.torch import save_file

    try:
        vit = same_vit(manifest, weights)
    except RequestError:
        if weights is not None:
            raise
        return ""
    path = folder / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in vit.state_dict().items()}, path)
    return str(path)
