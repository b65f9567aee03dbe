"""Pillow's resize and the crop as a torch module, for images of any size.

Sizes are tensors throughout, so that a trace of one image holds for all. B is the batch, H and W
are the sides of an image, h and w the sides of the crop, C its channels.
"""

import math

import torch
from torch import Tensor, nn

from vit_export.data.pillow_resize import (
    HALF_BITS,
    MAX_VALUE,
    SHARPNESS,
    TINY,
    WEIGHT_BITS,
    compute_normalization,
)
from vit_export.data.preprocessing import Preprocessing


class PillowResize(nn.Module):
    """Pixels (B, H, W, C) in uint8 to their resized crop (B, C, h, w) in fp32.

    Args:
        preprocessing: the resize and the crop.
        columns_first: whether the pass along columns comes first where an image loses more than
            twice as many rows as columns (`pillow_resize.columns_may_come_first`).
        normalizes: whether the output is normalized, instead of 0..255.
    """

    factor: Tensor
    summand: Tensor
    fixed: Tensor | None
    """Height and width after the resize; None if they depend on the image."""
    columns_first: Tensor

    def __init__(
        self, preprocessing: Preprocessing, *, columns_first: bool, normalizes: bool
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        resize = preprocessing.resize
        self.shorter = resize if isinstance(resize, int) else 0
        self.register_buffer("fixed", None if self.shorter else torch.tensor(resize))
        self.register_buffer("columns_first", torch.tensor([columns_first]))
        self.normalizes = normalizes
        factor_and_summand = compute_normalization(preprocessing)
        for name, values in zip(("factor", "summand"), factor_and_summand, strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, image: Tensor) -> Tensor:
        pixels = count_up(image[0, :, 0, 0]), count_up(image[0, 0, :, 0])
        sizes = pixels[0][-1:] + 1, pixels[1][-1:] + 1
        resized, crops = self._compute_resized_size(*sizes), self.preprocessing.crop
        rows, columns = (
            compute_weights(
                pixel,
                size,
                self._first_pixel(to, crop) + torch.arange(crop),
                to,
                self.preprocessing.interpolation,
            )
            for pixel, size, to, crop in zip(pixels, sizes, resized, crops, strict=True)
        )  # (2·h, H) and (2·w, W)
        lost = sizes[0] - resized[0], sizes[1] - resized[1]
        tall = (lost[0] > 0) & (lost[0] > 2 * lost[1]) & self.columns_first
        x: Tensor = apply_passes(image.permute(0, 3, 1, 2).float(), rows, columns, tall)
        return x * self.factor + self.summand if self.normalizes else x  # (B, C, h, w)

    def _compute_resized_size(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        if self.fixed is not None:
            return self.fixed[:1], self.fixed[1:]
        shorter = torch.minimum(height, width)
        sides = (
            torch.div(self.shorter * side, shorter, rounding_mode="floor")
            for side in (height, width)
        )
        return next(sides), next(sides)

    def _first_pixel(self, resized: Tensor, crop: int) -> Tensor:
        """Return the first pixel of the crop; half a pixel is rounded down, or to even."""
        margin = resized - crop
        half = torch.div(margin, 2, rounding_mode="floor")
        rounds_to_even = self.preprocessing.centre == "round"
        return half + (margin % 2) * (half % 2) if rounds_to_even else half


def count_up(values: Tensor) -> Tensor:
    """Return 0, 1, 2, … (N,) on the device of `values` (N,).

    `arange` names a device, and a trace keeps the one that it saw: the file would run there alone.
    """
    return torch.ones_like(values, dtype=torch.int64).cumsum(0) - 1


def compute_weights(
    pixel: Tensor, size: Tensor, at: Tensor, resized: Tensor, interpolation: str
) -> Tensor:
    """Return Pillow's weights of all pixels of a side for each pixel of the crop, (2·w, W).

    Upper halves come first, then lower halves. The distance of a pixel from the filter's centre is
    a quotient of integers, so that nothing is rounded before the division.

    Args:
        pixel: indices of the pixels before the resize, (W,).
        size: number of these pixels, (1,).
        at: indices of the resized pixels in the crop, (w,).
        resized: number of pixels after the resize, (1,).
        interpolation: `bilinear`, `bicubic` or `lanczos`.
    """
    apart = (2 * pixel + 1) * resized - (2 * at[:, None] + 1) * size
    distance = apart.abs().double() / (2 * torch.maximum(size, resized)).double()
    weight = apply_filter(distance, interpolation)
    weight = weight / weight.sum(1, keepdim=True) * 2**WEIGHT_BITS
    whole = torch.sign(weight) * torch.floor(weight.abs() + 0.5)
    upper = torch.floor(whole / 2**HALF_BITS + 0.5)
    return torch.cat([upper, whole - upper * 2**HALF_BITS]).float()


def apply_filter(distance: Tensor, interpolation: str) -> Tensor:
    """Return the filter's value at a `distance` from its centre, in pixels of the coarser grid."""
    if interpolation == "bilinear":
        return (1 - distance).clamp(min=0)
    if interpolation == "bicubic":  # both pieces are 0 where they meet, and the second one at 2
        x, y = distance.clamp(max=1), distance.clamp(1, 2)
        near = ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1
        return near + (((y - 5) * y + 8) * y - 4) * SHARPNESS
    angle = distance.clamp(TINY, 3) * math.pi
    return angle.sin() / angle * ((angle / 3).sin() / (angle / 3))


@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def apply_passes(x: Tensor, rows: Tensor, columns: Tensor, tall: Tensor) -> Tensor:
    """Return 8-bit values (B, C, H, W) after both passes in Pillow's order, (B, C, h, w)."""
    if bool(tall):
        return round_sums(torch.matmul(round_sums(torch.matmul(rows, x), -2), columns.t()), -1)
    return round_sums(torch.matmul(rows, round_sums(torch.matmul(x, columns.t()), -1)), -2)


def round_sums(
    sums: Tensor,
    axis: int,
    half_bits: int = HALF_BITS,
    weight_bits: int = WEIGHT_BITS,
    max_value: int = MAX_VALUE,
) -> Tensor:
    """Return 8-bit values from the sums over upper halves and then lower halves along `axis`."""
    upper, lower = sums.int().chunk(2, axis)
    total = upper * (1 << half_bits) + lower + (1 << (weight_bits - 1))
    return (total.clamp(min=0) >> weight_bits).clamp(max=max_value).float()
