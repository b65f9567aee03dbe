"""What goes into each layer, seen image by image: memory does not grow with their number."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vit_export.core.errors import RequestError
from vit_export.core.progress import Tell, counted
from vit_export.model.vit.lowering import LoweredVit
from vit_export.quantization.layers import linear_layers, products

ROWS = 1024
"""Rows of a layer's input that are kept, at most, to try settings on."""
LEAST_ROWS = 8
"""Of an image that any are kept of: few rows of every image would show one token alone."""
GOLDEN = 0.6180339887
"""Multiples of it fall evenly between 0 and 1, however many there are."""
HEADED = 4
"""Axes of what goes into attention's products."""
INPUTS = ("queries", "keys", "values")
"""Of attention's products, in the order in which they go in."""


@dataclass(eq=False)
class Observed:
    """The input of one layer, (rows, K), over all images."""

    images: int
    """That it will be shown, all with as many rows; some may turn out to be unreadable."""
    rows_of_one: int = 0
    """That one image has."""
    count: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    low: Tensor = field(default_factory=lambda: torch.full((), torch.inf))
    high: Tensor = field(default_factory=lambda: torch.full((), -torch.inf))
    kept: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    """(`ROWS`, K), of which the first `filled` are rows of the input."""
    filled: int = 0

    def add(self, x: Tensor) -> None:
        """Takes in the rows of one image."""
        number, self.rows_of_one = self.count // len(x), len(x)
        self.count += len(x)
        self.total = self.total + x.sum(dim=0, dtype=torch.float64)
        self.low = torch.minimum(self.low, x.amin(dim=0))
        self.high = torch.maximum(self.high, x.amax(dim=0))
        if number % self._every == 0 and self.filled < ROWS:
            self._keep(x[self._places(number)])

    @property
    def rows_per_image(self) -> int:
        """That are kept, of those images that any are kept of."""
        return min(ROWS // -(-self.images // self._every), self.rows_of_one)

    @property
    def _every(self) -> int:
        """Rows are kept of one image in this many: all over the folder, however large it is."""
        return -(-self.images * min(LEAST_ROWS, self.rows_of_one) // ROWS)

    def _places(self, number: int) -> Tensor:
        """Rows all over an image, others in each: tokens of every place are seen."""
        kept = self.rows_per_image
        start = round(number // self._every * GOLDEN * self.rows_of_one)
        return (torch.arange(kept) * self.rows_of_one // kept + start) % self.rows_of_one

    def _keep(self, x: Tensor) -> None:
        """One block of memory: many small ones between activations left the heap in pieces."""
        if not len(self.kept):
            self.kept = torch.empty(ROWS, x.shape[1])
        end = min(self.filled + len(x), ROWS)
        self.kept[self.filled : end] = x[: end - self.filled]
        self.filled = end

    @property
    def mean(self) -> Tensor:
        """Of each channel, (K,)."""
        return (self.total / self.count).float()

    @property
    def rows(self) -> Tensor:
        """At most `ROWS` rows, from many images, (R, K)."""
        return self.kept[: self.filled]

    @property
    def rows_by_image(self) -> tuple[Tensor, ...]:
        """The same rows, those of each image apart."""
        images: tuple[Tensor, ...] = self.rows.split(self.rows_per_image)
        return images

    def moved(self, shift: Tensor, scale: Tensor) -> "Observed":
        """The same images, had every row been (x - shift) / scale; the scale is positive."""
        return Observed(
            images=self.images,
            rows_of_one=self.rows_of_one,
            count=self.count,
            total=(self.total - self.count * shift) / scale,
            low=(self.low - shift) / scale,
            high=(self.high - shift) / scale,
            kept=(self.rows - shift) / scale,
            filled=self.filled,
        )


class Images(Protocol):
    """Names and inputs (C, H, W), made one at a time."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, npt.NDArray[np.float32]]]: ...


@torch.inference_mode()
def observe(
    lowered: LoweredVit,
    images: Images,
    include: Collection[str] = (),
    tell: Tell | None = None,
) -> tuple[dict[str, Observed], dict[str, int]]:
    """What `images` put into every layer, and the top class that each is answered with.

    Of attention's products, where they are in `include`, what goes in stands under their name and
    each of `INPUTS`.

    Raises:
        RequestError: an activation is not finite; its layer and the image are named.
    """
    watched: dict[str, nn.Module] = {**linear_layers(lowered, include)}
    keys = {name: [name] for name in watched}
    if "attention" in include:
        watched |= products(lowered)
        keys |= {name: [f"{name}.{word}" for word in INPUTS] for name in products(lowered)}
    found = {key: Observed(len(images)) for several in keys.values() for key in several}
    classes = {}
    with _watched(watched, {name: [found[key] for key in keys[name]] for name in watched}):
        for image, made in counted(images, len(images), tell):
            answer = lowered(torch.from_numpy(made[None]))
            classes[image] = int(answer.argmax())
            for name, seen in found.items():
                if not torch.isfinite(seen.total).all():
                    message = f"{image} makes what goes into {name} infinite or NaN."
                    raise RequestError(message, "leave it out, or look at the checkpoint.")
    return found, classes


@contextmanager
def _watched(modules: dict[str, nn.Module], seen: dict[str, list[Observed]]) -> Iterator[None]:
    """Inside, what goes into each of `modules` is taken in, the last axis being the channels."""

    def watcher(several: list[Observed]) -> Any:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            for one, x in zip(several, inputs, strict=True):
                one.add(_channels_last(x))

        return see

    hooks = [modules[name].register_forward_pre_hook(watcher(seen[name])) for name in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _channels_last(x: Tensor) -> Tensor:
    """(M, K): rows of a layer's input, or those of all heads (B, h, N, d) beside each other."""
    return x.transpose(1, 2).flatten(2).flatten(0, 1) if x.ndim == HEADED else x.flatten(0, -2)
