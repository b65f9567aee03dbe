"""The inputs and outputs of a model: all that most stages know of it.

A model with several outputs answers one row per image, in which they stand side by side. Rows are
what stages exchange and manifests store; `Signature.split` takes them apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Literal

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array

Meaning = Literal["image", "logits", "features", "tokens", "tensor"]
"""What the numbers of a tensor are. `tensor` stands for whatever the model's author meant."""
ProblemType = Literal["single_label", "multi_label", "regression"]
"""What logits are for: one class per image, any number of classes, or numbers as they are."""
IMAGE_AXES = 3
"""Axes of one image: (C, H, W)."""
BATCH = "batch"
"""The name of the free dimension that counts images."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a model."""

    name: str
    dtype: str
    """As NumPy spells it: `float32`."""
    shape: tuple[int | str, ...]
    """A string names a free dimension: ("batch", 3, 224, 224)."""
    meaning: Meaning

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: without the batch, which comes first.

        Raises:
            ValueError: another dimension is free.
        """
        fixed = tuple(side for side in self.shape[1:] if isinstance(side, int))
        if len(fixed) < len(self.shape) - 1:
            raise ValueError(f"{self.name} has free dimensions besides the batch: {self.shape}")
        return fixed


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Inputs and outputs of a model, before any preprocessing or head is put around it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        """Raise RequestError unless there are inputs and outputs."""
        for name in ("inputs", "outputs"):
            if not getattr(self, name):
                raise RequestError(f"the signature has no {name}.", "export the model again.")

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) of an image, or any other."""
        return self.inputs[0].sample_shape

    @property
    def takes_images(self) -> bool:
        """Whether the input is an image, and no other tensor."""
        return self.inputs[0].meaning == "image"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an input image; sizes in pixels.

        Raises:
            ValueError: the input is no image.
        """
        channels, height, width = self.inputs[0].sample_shape
        return channels, height, width

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return self.image_shape[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.image_shape[1:]

    @property
    def is_joined(self) -> bool:
        """Whether there are several outputs, which stand side by side in the answer."""
        return len(self.outputs) > 1

    @property
    def answer(self) -> str:
        """What the model answers, in words: the names of its outputs."""
        return ", ".join(one.name for one in self.outputs)

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of the answer to one image: (K,), (N, D) for tokens, (S,) for several outputs."""
        if self.is_joined:
            return (sum(prod(one.sample_shape) for one in self.outputs),)
        return self.outputs[0].sample_shape

    @property
    def classifies(self) -> bool:
        """Whether one output is logits."""
        return self.classes is not None

    @property
    def classes(self) -> int | None:
        """Number of classes; None for a model that does not classify."""
        shapes = (one.sample_shape for one in self.outputs if one.meaning == "logits")
        return next((shape[-1] for shape in shapes), None)

    def split(self, answers: Array) -> Iterator[tuple[TensorSpec, Array]]:
        """Yield each output with its part (…, *sample_shape) of `answers` (…, *answer_shape)."""
        if not self.is_joined:
            yield self.outputs[0], answers
            return
        ends = accumulate(prod(one.sample_shape) for one in self.outputs)
        for output, end in zip(self.outputs, ends, strict=True):
            part = answers[..., end - prod(output.sample_shape) : end]
            yield output, part.reshape(*answers.shape[:-1], *output.sample_shape)

    def find_logits(self, answers: Array) -> Array:
        """Return the logits (…, K) in `answers`; of a model without classes, its first output."""
        parts = [*self.split(answers)]
        return next((part for output, part in parts if output.meaning == "logits"), parts[0][1])


def image_signature(
    image_shape: tuple[int, int, int], answer: Meaning, answer_shape: tuple[int, ...]
) -> Signature:
    """The signature of a model that answers one tensor to one image, in fp32.

    Args:
        image_shape: channels, height and width of one image.
        answer: what the output means; it is also the output's name.
        answer_shape: shape of the answer to one image.
    """
    output = TensorSpec(name=answer, dtype="float32", shape=(BATCH, *answer_shape), meaning=answer)
    return make_signature(image_shape, (output,))


def make_signature(sample_shape: tuple[int, ...], outputs: tuple[TensorSpec, ...]) -> Signature:
    """The signature of a model that takes one sample, in fp32.

    Args:
        sample_shape: shape of one sample: an image if it has three axes, else a tensor.
        outputs: what the model answers.
    """
    is_image = len(sample_shape) == IMAGE_AXES
    sample = TensorSpec(
        name="image" if is_image else "input",
        dtype="float32",
        shape=(BATCH, *sample_shape),
        meaning="image" if is_image else "tensor",
    )
    return Signature(inputs=(sample,), outputs=outputs)
