"""Statistics of the input of each layer, collected image by image in bounded memory."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vit_export.core.errors import RequestError
from vit_export.core.progress import ReportShare, track
from vit_export.model.join import answer_joined
from vit_export.model.layered import LayeredModule
from vit_export.model.signature import Signature
from vit_export.quantization.layers import find_attention_matmuls, find_linear_layers

MAX_ROWS = 1024
"""Maximum number of rows of a layer's input that are stored, to measure rounding errors on."""
MIN_ROWS_PER_IMAGE = 8
"""Minimum number of rows that are stored of an image: a single row would show one token only."""
GOLDEN_RATIO = 0.6180339887
"""Its multiples, modulo 1, are spread evenly between 0 and 1, whatever their number."""
HEAD_AXES = 4
"""Number of axes of the inputs of attention's matmuls, (B, h, N, d)."""
ATTENTION_INPUTS = ("queries", "keys", "values")
"""Inputs of attention's matmuls, in the order of the module's arguments."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ActivationStats:
    """Statistics of the input of one layer over all images; K is its number of channels."""

    images: int
    """Number of images in the folder, including unreadable ones."""
    rows_per_image: int
    """Number of rows of one image: tokens, or patches."""
    count: int
    """Number of rows of all images together."""
    total: Tensor
    """Sum of all rows in fp64, (K,)."""
    low: Tensor
    """Minimum of each channel, (K,)."""
    high: Tensor
    """Maximum of each channel, (K,)."""
    rows: Tensor
    """A sample of the rows, from many images, (R, K) with R at most `MAX_ROWS`."""

    @property
    def mean(self) -> Tensor:
        """Mean of each channel, (K,)."""
        return (self.total / self.count).float()

    @property
    def rows_by_image(self) -> tuple[Tensor, ...]:
        """`rows`, one tensor for each image."""
        sampled = count_sampled_rows(self.images, self.rows_per_image)
        images: tuple[Tensor, ...] = self.rows.split(sampled)
        return images

    def transform(self, shift: Tensor, scale: Tensor) -> "ActivationStats":
        """The statistics of (x - shift) / scale; both are (K,) or scalars, and `scale` positive."""
        return ActivationStats(
            images=self.images,
            rows_per_image=self.rows_per_image,
            count=self.count,
            total=(self.total - self.count * shift) / scale,
            low=(self.low - shift) / scale,
            high=(self.high - shift) / scale,
            rows=(self.rows - shift) / scale,
        )


LayerStats = dict[str, ActivationStats]
"""Statistics by the name of a layer, or of an input of attention's matmuls."""


@dataclass(eq=False)
class Observer:
    """Collects the statistics of one layer's input, image by image."""

    images: int
    """Number of images that will follow, all with equally many rows."""
    rows_per_image: int = 0
    count: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    low: Tensor = field(default_factory=lambda: torch.full((), torch.inf))
    high: Tensor = field(default_factory=lambda: torch.full((), -torch.inf))
    buffer: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    """(`MAX_ROWS`, K); its first `row_count` rows are sampled rows."""
    row_count: int = 0

    def add(self, x: Tensor) -> None:
        """Include the rows `x` (rows_per_image, K) of one image."""
        number, self.rows_per_image = self.count // len(x), len(x)
        self.count += len(x)
        self.total = self.total + x.sum(dim=0, dtype=torch.float64)
        self.low = torch.minimum(self.low, x.amin(dim=0))
        self.high = torch.maximum(self.high, x.amax(dim=0))
        stride = find_image_stride(self.images, self.rows_per_image)
        if number % stride == 0 and self.row_count < MAX_ROWS:
            self._append(x[self._choose_rows(number // stride)])

    def read_stats(self) -> ActivationStats:
        """The statistics so far; `rows` shares memory with this observer."""
        return ActivationStats(
            images=self.images,
            rows_per_image=self.rows_per_image,
            count=self.count,
            total=self.total,
            low=self.low,
            high=self.high,
            rows=self.buffer[: self.row_count],
        )

    def _choose_rows(self, number: int) -> Tensor:
        """Positions spread over the image, and shifted per image so that every token is sampled."""
        sampled = count_sampled_rows(self.images, self.rows_per_image)
        start = round(number * GOLDEN_RATIO * self.rows_per_image)
        positions = torch.arange(sampled) * self.rows_per_image // sampled
        return (positions + start) % self.rows_per_image

    def _append(self, x: Tensor) -> None:
        """Copy `x` into one large buffer: many small tensors fragmented the heap."""
        if not len(self.buffer):
            self.buffer = torch.empty(MAX_ROWS, x.shape[1])
        end = min(self.row_count + len(x), MAX_ROWS)
        self.buffer[self.row_count : end] = x[: end - self.row_count]
        self.row_count = end


def find_image_stride(images: int, rows_per_image: int) -> int:
    """Distance between sampled images, so that the sampled rows come from the whole folder."""
    return -(-images * min(MIN_ROWS_PER_IMAGE, rows_per_image) // MAX_ROWS)


def count_sampled_rows(images: int, rows_per_image: int) -> int:
    """Number of rows that are sampled from each sampled image."""
    sampled_images = -(-images // find_image_stride(images, rows_per_image))
    return min(MAX_ROWS // sampled_images, rows_per_image)


class NamedImages(Protocol):
    """Names and model inputs (C, H, W), produced one at a time."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, npt.NDArray[np.float32]]]: ...


@torch.inference_mode()
def collect_stats(
    lowered: LayeredModule,
    images: NamedImages,
    include: Collection[str] = (),
    report_share: ReportShare | None = None,
    signature: Signature | None = None,
) -> tuple[LayerStats, dict[str, int]]:
    """Statistics of every layer's input on `images`, and the top class of each image.

    If `include` has `attention`, the inputs of its matmuls are observed as well. They are named
    after the module and each of `ATTENTION_INPUTS`. `signature` says which of several outputs has
    the classes.

    Raises:
        RequestError: an activation is not finite; the message names the layer and the image.
    """
    modules: dict[str, nn.Module] = {**find_linear_layers(lowered, include)}
    inputs = {name: [name] for name in modules}
    if "attention" in include:
        matmuls = find_attention_matmuls(lowered)
        modules |= matmuls
        inputs |= {name: [f"{name}.{word}" for word in ATTENTION_INPUTS] for name in matmuls}
    observers = {key: Observer(len(images)) for keys in inputs.values() for key in keys}
    classes = {}
    by_module = {name: [observers[key] for key in inputs[name]] for name in modules}
    with _observe(modules, by_module):
        for image, array in track(images, len(images), report_share):
            answer = answer_joined(lowered, torch.from_numpy(array[None])).numpy()
            logits = answer if signature is None else signature.find_logits(answer)
            classes[image] = int(logits.argmax())
            for name, observer in observers.items():
                if not torch.isfinite(observer.total).all():
                    message = f"{image} makes what goes into {name} infinite or NaN."
                    raise RequestError(message, "leave it out, or look at the checkpoint.")
    return {name: observer.read_stats() for name, observer in observers.items()}, classes


@contextmanager
def _observe(modules: dict[str, nn.Module], observers: dict[str, list[Observer]]) -> Iterator[None]:
    """While open, pass the inputs of each module to its observers, one per argument."""
    hooks = [
        module.register_forward_pre_hook(_make_hook(observers[name]))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _make_hook(observers: Sequence[Observer]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def add_inputs(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for observer, x in zip(observers, inputs, strict=True):
            observer.add(_put_channels_last(x))

    return add_inputs


def _put_channels_last(x: Tensor) -> Tensor:
    """The rows (M, K) of a layer's input, or of heads (B, h, N, d) with K = h·d."""
    if x.ndim == HEAD_AXES:
        return x.transpose(1, 2).flatten(2).flatten(0, 1)  # (B·N, h·d)
    return x.flatten(0, -2)
