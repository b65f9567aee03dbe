"""What quantized layers cost a model's answers: played in PyTorch, alone and together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch.nn.functional import interpolate

from vit_export.backends.module_session import ModuleSession
from vit_export.core.numerics import Array, snr_db
from vit_export.core.progress import Tell, counted
from vit_export.model.vit.lowering import LoweredVit
from vit_export.quantization.fake_quant import played
from vit_export.quantization.plan import Plan

ALONE = 4
"""Images that layers are tried on one by one; mixtures are tried on all."""


@dataclass(frozen=True, eq=False)
class Exam:
    """Images (M, C, H, W), what the exact module answers to each, and how they are asked."""

    lowered: LoweredVit
    images: Array
    answers: Array
    batches: tuple[tuple[int, ...], ...]
    """Positions of images that are asked together: a batch may have one run-time scale."""

    @classmethod
    def of(cls, lowered: LoweredVit, images: Array, batches: Sequence[Sequence[int]] = ()) -> Self:
        """The exam whose right answers are those of `lowered` as it stands."""
        session = ModuleSession(lowered)
        answers = np.concatenate([session.run(image[None]) for image in images])
        alone = [(position,) for position in range(len(images))]
        return cls(lowered, images, answers, (*alone, *map(tuple, batches)))

    def hardest(self, plan: Plan) -> Self:
        """The part of it that decides: the images that `plan` costs most, each alone."""
        found = [snr for snr, _ in self._looks(plan)[: len(self.images)]]
        chosen = np.sort(np.argsort(found, kind="stable")[:ALONE])
        alone = tuple((position,) for position in range(len(chosen)))
        return type(self)(self.lowered, self.images[chosen], self.answers[chosen], alone)

    def noise(self, plan: Plan) -> float:
        """The error's share of the signal's power, a mean over images."""
        return float(np.mean([10 ** (-snr / 10) for snr, _ in self._looks(plan)]))

    def judge(self, plan: Plan) -> tuple[float, float]:
        """The worst signal to noise in dB, and the share of answers whose top class stays."""
        snr, same = zip(*self._looks(plan), strict=True)
        return min(snr), float(np.mean(same))

    def _looks(self, plan: Plan) -> list[tuple[float, bool]]:
        """Signal to noise in dB, and whether the top class stays, of each answer."""
        with played(self.lowered, plan) as module:
            session = ModuleSession(module)
            return [
                (snr_db(self.answers[i], found), self.answers[i].argmax() == found.argmax())
                for batch in self.batches
                for i, found in zip(batch, session.run(self.images[list(batch)]), strict=True)
            ]


def closer_views(images: Sequence[Array]) -> list[Array]:
    """Two opposite quarters of each of `images` (C, H, W), enlarged to the whole.

    A mixture costs most on what nobody calibrated on: of a published DINOv2 ViT-S textures (cells
    under a microscope, grass, the moon) fell 10 dB below photographs of things. Their closer views,
    which show textures, foretold that within 3 dB.
    """
    found = []
    for image in images:
        rows, columns = image.shape[1] // 2, image.shape[2] // 2
        for quarter in (image[:, :rows, :columns], image[:, -rows:, -columns:]):
            whole = torch.from_numpy(quarter)[None]
            found.append(interpolate(whole, image.shape[1:], mode="bicubic")[0].numpy())
    return found


def noises(
    exam: Exam, plans: Sequence[Plan], tell: Tell | None = None
) -> dict[tuple[str, str], float]:
    """By layer and scheme: what quantizing it alone costs, for the layers of each of `plans`."""
    alone = [(name, layer) for plan in plans for name, layer in plan.layers.items()]
    return {
        (name, layer.scheme): exam.noise(Plan(layers={name: layer}))
        for name, layer in counted(alone, len(alone), tell)
    }
