"""What goes into each layer, seen image by image: memory does not grow with their number."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vit_export.errors import RequestError
from vit_export.progress import Tell, unheard
from vit_export.quantize.layers import linear_layers, products
from vit_export.vit.lower import LoweredVit

ROWS = 1024
"""Rows of a layer's input that are kept to try settings on."""
INPUTS = ("queries", "keys", "values")
"""Of attention's products, in the order in which they go in."""


@dataclass(eq=False)
class Observed:
    """The input of one layer, (rows, K), over all images."""

    rows_per_image: int
    """That are kept."""
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
        self.rows_of_one = len(x)
        self.count += len(x)
        self.total = self.total + x.sum(dim=0, dtype=torch.float64)
        self.low = torch.minimum(self.low, x.amin(dim=0))
        self.high = torch.maximum(self.high, x.amax(dim=0))
        if self.filled < ROWS:
            self._keep(x[:: max(len(x) // self.rows_per_image, 1)][: self.rows_per_image])

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
        images: tuple[Tensor, ...] = self.rows.split(min(self.rows_per_image, self.rows_of_one))
        return images

    def moved(self, shift: Tensor, scale: Tensor) -> "Observed":
        """The same images, had every row been (x - shift) / scale; the scale is positive."""
        return Observed(
            rows_per_image=self.rows_per_image,
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
    lowered: LoweredVit, images: Images, include: Collection[str] = (), tell: Tell = unheard
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
    rows = max(ROWS // len(images), 1)
    found = {key: Observed(rows) for several in keys.values() for key in several}
    classes = {}
    with _watched(watched, {name: [found[key] for key in keys[name]] for name in watched}):
        for number, (image, made) in enumerate(images):
            tell(number / len(images))
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
                one.add(x.reshape(-1, x.shape[-1]))

        return see

    hooks = [modules[name].register_forward_pre_hook(watcher(seen[name])) for name in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
