"""Images of any size to what the model takes, as a module: Pillow's resize, and the crop.

Sizes are tensors throughout, so that what is traced on one image holds for all. B is the batch,
H and W are the sides of its images, h and w those of the crop.
"""

import math

import torch
from torch import Tensor, nn

from vit_export.data.pillow_resize import (
    HALF_BITS,
    HIGHEST,
    SHARPNESS,
    TINY,
    WEIGHT_BITS,
    normalization,
)
from vit_export.data.preprocessing import Preprocessing


class Pixels(nn.Module):
    """Levels (B, H, W, C) in uint8 to levels (B, C, h, w) in fp32, or to normalized numbers."""

    factor: Tensor
    summand: Tensor
    fixed: Tensor | None
    """Both sides after the resize, where they do not depend on the image's."""
    columns_first: Tensor
    """Whether Pillow begins with columns where they lose more than twice as much as rows."""

    def __init__(self, steps: Preprocessing, *, columns_first: bool, normalizes: bool) -> None:
        super().__init__()
        self.steps = steps
        self.shorter = steps.resize if isinstance(steps.resize, int) else 0
        fixed = None if self.shorter else torch.tensor(steps.resize)
        self.register_buffer("fixed", fixed)
        self.register_buffer("columns_first", torch.tensor([columns_first]))
        self.normalizes = normalizes
        for name, values in zip(("factor", "summand"), normalization(steps), strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, image: Tensor) -> Tensor:
        pixels = torch.arange(image.shape[1]), torch.arange(image.shape[2])
        sizes = pixels[0][-1:] + 1, pixels[1][-1:] + 1
        resized = self._resized(*sizes)
        rows, columns = (
            weights(pixel, size, self._first(to, crop) + torch.arange(crop), to, self.steps)
            for pixel, size, to, crop in zip(pixels, sizes, resized, self.steps.crop, strict=True)
        )  # (2·h, H) and (2·w, W)
        lost = sizes[0] - resized[0], sizes[1] - resized[1]
        tall = (lost[0] > 0) & (lost[0] > 2 * lost[1]) & self.columns_first
        x: Tensor = passes(image.permute(0, 3, 1, 2).float(), rows, columns, tall)  # (B, C, h, w)
        return x * self.factor + self.summand if self.normalizes else x

    def _resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        if self.fixed is not None:
            return self.fixed[:1], self.fixed[1:]
        shorter = torch.minimum(height, width)
        whole = (
            torch.div(self.shorter * side, shorter, rounding_mode="floor")
            for side in (height, width)
        )
        return next(whole), next(whole)

    def _first(self, resized: Tensor, crop: int) -> Tensor:
        """The first pixel of the crop: half a pixel goes down, or to the even one."""
        margin = resized - crop
        half = torch.div(margin, 2, rounding_mode="floor")
        return half + (margin % 2) * (half % 2) if self.steps.centre == "round" else half


def weights(
    pixel: Tensor, size: Tensor, at: Tensor, resized: Tensor, steps: Preprocessing
) -> Tensor:
    """Pillow's weights of all pixels (W,) for the resized ones at `at` (w,): (2·w, W).

    Upper halves, then lower halves. How far a pixel lies from the filter's middle is a quotient
    of whole numbers: nothing is rounded before it.
    """
    apart = (2 * pixel + 1) * resized - (2 * at[:, None] + 1) * size
    distance = apart.abs().double() / (2 * torch.maximum(size, resized)).double()
    weight = under_filter(distance, steps.interpolation)
    weight = weight / weight.sum(1, keepdim=True) * 2**WEIGHT_BITS
    whole = torch.sign(weight) * torch.floor(weight.abs() + 0.5)
    upper = torch.floor(whole / 2**HALF_BITS + 0.5)
    return torch.cat([upper, whole - upper * 2**HALF_BITS]).float()


def under_filter(distance: Tensor, interpolation: str) -> Tensor:
    """The filter at distances from its middle, in pixels of the coarser grid."""
    if interpolation == "bilinear":
        return (1 - distance).clamp(min=0)
    if interpolation == "bicubic":  # both pieces are 0 where they meet, and the second one at 2
        x, y = distance.clamp(max=1), distance.clamp(1, 2)
        near = ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1
        return near + (((y - 5) * y + 8) * y - 4) * SHARPNESS
    angle = distance.clamp(TINY, 3) * math.pi
    return angle.sin() / angle * ((angle / 3).sin() / (angle / 3))


@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def passes(x: Tensor, rows: Tensor, columns: Tensor, tall: Tensor) -> Tensor:
    """Levels (B, C, H, W) through both passes, in Pillow's order: (B, C, h, w)."""
    if bool(tall):
        return rounded(torch.matmul(rounded(torch.matmul(rows, x), -2), columns.t()), -1)
    return rounded(torch.matmul(rows, rounded(torch.matmul(x, columns.t()), -1)), -2)


def rounded(
    sums: Tensor,
    axis: int,
    half_bits: int = HALF_BITS,
    weight_bits: int = WEIGHT_BITS,
    highest: int = HIGHEST,
) -> Tensor:
    """Levels of sums with upper and with lower halves, which lie one after the other on `axis`."""
    upper, lower = sums.int().chunk(2, axis)
    total = upper * (1 << half_bits) + lower + (1 << (weight_bits - 1))
    return (total.clamp(min=0) >> weight_bits).clamp(max=highest).float()
