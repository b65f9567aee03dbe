"""Milliseconds of each linear layer in each scheme, measured by a timer that the caller passes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from torch import nn

from vit_export.artifact.budget import FP32
from vit_export.core.progress import Progress, ReportShare
from vit_export.quantization.observer import LayerStats

Gemm = tuple[int, int, int]
"""Sizes (rows, inner, columns) of a matrix product of (rows, inner) and (inner, columns)."""


class LayerTimer(Protocol):
    """A function that times linear layers in a runtime."""

    def __call__(
        self,
        gemms: Collection[Gemm],
        schemes: Sequence[str],
        flavour: str,
        threads: int | None,
        report_share: ReportShare | None = None,
    ) -> dict[tuple[Gemm, str], float]:
        """Milliseconds of one layer by its sizes and scheme, in fp32 and each of `schemes`."""


def measure_layer_ms(
    layers: Mapping[str, nn.Linear],
    stats: LayerStats,
    time_layers: LayerTimer,
    *,
    images: int,
    schemes: Sequence[str],
    flavour: str,
    threads: int | None,
    progress: Progress,
) -> dict[tuple[str, str], float]:
    """Milliseconds by layer and scheme, in fp32 and each of `schemes`.

    Args:
        layers: linear layers by module name.
        stats: statistics of each layer, with the number of rows of one image.
        time_layers: times layers of distinct sizes.
        images: number of images in a batch.
        schemes: names in `SCHEMES`.
        flavour: value of `--for`: the runtime that the graph is for.
        threads: threads of the runtime; None leaves the number to it.
        progress: shows the timing.
    """
    gemms = {
        name: (stats[name].rows_per_image * images, layer.in_features, layer.out_features)
        for name, layer in layers.items()
    }
    distinct = dict.fromkeys(gemms.values())
    with progress(f"time layers of {len(distinct)} shapes") as report_share:
        layer_ms = time_layers(distinct, schemes, flavour, threads, report_share)
    return {(n, s): layer_ms[gemm, s] for n, gemm in gemms.items() for s in (FP32, *schemes)}
