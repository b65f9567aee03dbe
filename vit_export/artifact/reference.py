"""The eager model's answers, as a manifest stores them."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, cast

import numpy as np

from vit_export.core.errors import RequestError
from vit_export.core.from_json import read_value
from vit_export.core.numerics import Array
from vit_export.model.signature import Signature, TensorSpec

FIX = "export the model again."


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Answers of the eager model to M samples, and how exact they are."""

    recipes: tuple[str, ...]
    """How each sample is made (`validation.samples`)."""
    digests: tuple[str, ...]
    """SHA-256 of each sample, which shows whether it was recreated exactly."""
    answers: Array
    """(M, *answer_shape)"""
    floors: tuple[float, ...]
    """Largest |fp32 - fp64| of each answer."""
    output_floors: tuple[tuple[float, ...], ...] = ()
    """The same of each of several outputs; empty for a model of one output."""

    def split(self, signature: Signature) -> Iterator[tuple[TensorSpec, Self]]:
        """The outputs of a model, each with the reference of it alone."""
        for index, (output, answers) in enumerate(signature.split(self.answers)):
            floors = self.output_floors[index] if self.output_floors else self.floors
            yield output, replace(self, answers=answers, floors=floors, output_floors=())

    def select(self, positions: Sequence[int]) -> Self:
        """The reference of the samples at these positions."""
        return replace(
            self,
            recipes=tuple(self.recipes[i] for i in positions),
            digests=tuple(self.digests[i] for i in positions),
            answers=self.answers[list(positions)],
            floors=tuple(self.floors[i] for i in positions),
            output_floors=tuple(tuple(one[i] for i in positions) for one in self.output_floors),
        )

    def without_user_images(self) -> Self:
        """The reference of the samples that need no file of the user."""
        recipes = enumerate(self.recipes)
        return self.select([i for i, recipe in recipes if not recipe.startswith("image:")])

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; the answers as base64 of little-endian fp32, bit for bit."""
        raw = base64.b64encode(self.answers.astype("<f4").tobytes()).decode("ascii")
        values = asdict(self) | {"answers": raw, "shape": self.answers.shape}
        if not self.output_floors:
            del values["output_floors"]
        return values

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """The reference that `to_mapping` wrote.

        It accepts answers that are not finite: the verdict rejects them.

        Raises:
            RequestError: a field is missing, of another type or length, or not finite.
        """
        fields = {
            name: read_value(kind, values.get(name), f"{where}.{name}")
            for name, kind in {
                "recipes": tuple[str, ...],
                "digests": tuple[str, ...],
                "floors": tuple[float, ...],
            }.items()
        }
        answers = _read_answers(values, where)
        output_floors = _read_output_floors(values, where)
        named = {**fields, **{f"output_floors[{i}]": one for i, one in enumerate(output_floors)}}
        for name, value in named.items():
            if len(value) != len(answers):
                message = f"{where}.{name} has {len(value)} entries for {len(answers)} answers."
                raise RequestError(message, FIX)
            if "floors" in name and any(floor < 0 for floor in value):
                raise RequestError(f"{where}.{name} holds a negative number.", FIX)
        return cls(answers=answers, output_floors=output_floors, **fields)


def _read_output_floors(values: Mapping[str, Any], where: str) -> tuple[tuple[float, ...], ...]:
    floors = values.get("output_floors", [])
    kind = tuple[tuple[float, ...], ...]
    return cast("tuple[tuple[float, ...], ...]", read_value(kind, floors, f"{where}.output_floors"))


def _read_answers(values: Mapping[str, Any], where: str) -> Array:
    text = read_value(str, values.get("answers"), f"{where}.answers")
    shape = read_value(tuple[int, ...], values.get("shape"), f"{where}.shape")
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RequestError(f"{where}.answers can't be decoded ({error}).", FIX) from None
    if not shape or min(shape) < 0 or len(raw) != 4 * math.prod(shape):
        message = f"{where}.answers holds {len(raw)} bytes, which is not fp32 of shape {shape}."
        raise RequestError(message, FIX)
    return np.frombuffer(raw, "<f4").reshape(shape).astype(np.float32)
