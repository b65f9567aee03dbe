"""The noise that quantized layers, alone and together, add to a model's answers, in PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from vit_export.artifact.output_signals import OutputSignals
from vit_export.core.numerics import Array
from vit_export.core.progress import ReportShare, track
from vit_export.model.join import answer_joined
from vit_export.model.layered import LayeredModule
from vit_export.quantization.fake_quant import fake_quantize
from vit_export.quantization.plan import QuantizationPlan

HARDEST = 4
"""Number of images that single layers are measured on; all layers together see every image."""


@dataclass(frozen=True, eq=False)
class AccuracyTest:
    """Images, the unquantized module's answers to them, and the batches that a plan is run in."""

    lowered: LayeredModule
    images: Array
    """(M, C, H, W)"""
    answers: Array
    """The unquantized module's answer to each image, (M, ...)."""
    signals: OutputSignals
    """The signals of the model's answers in the proof."""
    batches: tuple[tuple[int, ...], ...]
    """Positions of the images of each batch: one run-time scale may serve a whole batch."""

    @classmethod
    def prepare(
        cls,
        lowered: LayeredModule,
        images: Array,
        batches: Sequence[Sequence[int]] = (),
        *,
        signals: OutputSignals,
    ) -> Self:
        """The test of `lowered`, which is still unquantized; each image also runs alone."""
        answers = np.concatenate([_run(lowered, image[None]) for image in images])
        alone = [(position,) for position in range(len(images))]
        return cls(lowered, images, answers, signals, (*alone, *map(tuple, batches)))

    def select_hardest(self, plan: QuantizationPlan) -> Self:
        """The test on the images that lose most under `plan`, each of them alone."""
        snrs = [snr for snr, _ in self._compare(plan)[: len(self.images)]]
        hardest = np.sort(np.argsort(snrs, kind="stable")[:HARDEST])
        alone = tuple((position,) for position in range(len(hardest)))
        images, answers = self.images[hardest], self.answers[hardest]
        return type(self)(self.lowered, images, answers, self.signals, alone)

    def measure_noise(self, plan: QuantizationPlan) -> float:
        """The power of the error as a share of the signal's, averaged over answers."""
        return float(np.mean([10 ** (-snr / 10) for snr, _ in self._compare(plan)]))

    def measure_accuracy(self, plan: QuantizationPlan) -> tuple[float, float]:
        """The worst signal-to-noise ratio in dB, and the share of top classes that stay."""
        snrs, same = zip(*self._compare(plan), strict=True)
        return min(snrs), float(np.mean(same))

    def _compare(self, plan: QuantizationPlan) -> list[tuple[float, bool]]:
        """Signal-to-noise ratio in dB of each answer, and whether its top class stays."""
        with fake_quantize(self.lowered, plan) as module:
            answers = [
                (self.answers[i], answer)
                for batch in self.batches
                for i, answer in zip(batch, _run(module, self.images[list(batch)]), strict=True)
            ]
        find_snr_db = self.signals.find_worst_snr_db
        return [(find_snr_db(*pair), self._keeps_class(*pair)) for pair in answers]

    def _keeps_class(self, right: Array, answer: Array) -> bool:
        find = self.signals.signature.find_logits
        return bool(find(right).argmax() == find(answer).argmax())


def _run(module: nn.Module, images: Array) -> Array:
    """The module's answers (B, ...) to `images` (B, C, H, W), several outputs side by side."""
    with torch.inference_mode():
        answers: Array = answer_joined(module, torch.from_numpy(images)).numpy()
    return answers


def enlarge_quarters(images: Sequence[Array]) -> list[Array]:
    """Two opposite quarters of each of `images` (C, H, W), enlarged to the size of the image.

    Quantization costs most on images unlike those of the calibration: on a published DINOv2 ViT-S,
    textures (cells under a microscope, grass, the moon) had 10 dB less than photographs of things.
    Enlarged quarters, which show textures, predicted that loss within 3 dB.
    """
    views = []
    for image in images:
        rows, columns = image.shape[1] // 2, image.shape[2] // 2
        for quarter in (image[:, :rows, :columns], image[:, -rows:, -columns:]):
            batch = torch.from_numpy(quarter)[None]
            views.append(interpolate(batch, image.shape[1:], mode="bicubic")[0].numpy())
    return views


def measure_layer_noise(
    test: AccuracyTest, plans: Sequence[QuantizationPlan], report_share: ReportShare | None = None
) -> dict[tuple[str, str], float]:
    """The noise of quantizing one layer alone, by layer and scheme, for all layers of `plans`."""
    layers = [(name, layer) for plan in plans for name, layer in plan.layers.items()]
    return {
        (name, layer.scheme): test.measure_noise(QuantizationPlan(layers={name: layer}))
        for name, layer in track(layers, len(layers), report_share)
    }
