"""The modules of a model beside the values of another tool's file that have their numbers."""

from collections.abc import Mapping
from pathlib import Path

import torch

from vit_export.backends.open import require_values
from vit_export.core.numerics import Array
from vit_export.model.lower import lower
from vit_export.model.model import Model
from vit_export.model.program.answer import TensorAnswer
from vit_export.model.program.lowered import LoweredProgram
from vit_export.model.program.values import ANSWER, ProgramValues
from vit_export.model.taps import Tap
from vit_export.validation.match_values import match_values
from vit_export.validation.module_taps import WRAPPER, to_rows


class ForeignTaps:
    """Taps by the numbers that the file computes.

    Args:
        path: the file.
        model: the model that it should be.
        sample: one sample (C, H, W), on which values are recognized.
        threads: threads of the runtime; None for its default.
    """

    def __init__(self, path: Path, model: Model, *, sample: Array, threads: int | None) -> None:
        self._recorder = _VitRecorder(model) if model.spec is not None else _CodeRecorder(model)
        outputs = self._recorder.record(sample)
        self._graph = require_values(path)(path, None, threads)
        self._matches = match_values(outputs, self._graph, sample)
        self._columns = {name: outputs[name].shape[-1] for name in self._matches}
        self.names = tuple(outputs)
        """The modules of the model, in running order."""

    @property
    def last(self) -> int:
        """The position of the last module whose numbers the file has; -1 if it has none."""
        return max((self.names.index(name) for name in self._matches), default=-1)

    def describe_departure(self) -> str:
        """Return a sentence that names the first module behind the last one that the file has.

        It is empty if the file has the numbers of the last module.
        """
        if self.last == len(self.names) - 1:
            return ""
        if self.last < 0:
            return f"no value in it is what {self.names[0]} answers, the model's first module"
        has, lacks = self.names[self.last], self.names[self.last + 1]
        return f"it computes what {has} answers, and not what {lacks} answers"

    def answer(self, sample: Array) -> Mapping[str, Array]:
        """As `PairedTaps.answer`."""
        values = self._graph.run(sample, [one.value for one in self._matches.values()])
        return {
            name: to_rows(values[match.value], self._columns[name])
            for name, match in self._matches.items()
        }

    def expect(self, sample: Array) -> Mapping[str, Tap]:
        """As `PairedTaps.expect`."""
        taps = self._recorder.record_taps(sample)
        return {
            name: Tap(taps[name].fp32[: match.rows], taps[name].fp64[: match.rows])
            for name, match in self._matches.items()
        }

    def expect_fp32(self, sample: Array) -> Mapping[str, Array]:
        """As `PairedTaps.expect_fp32`."""
        outputs = self._recorder.record(sample)
        return {name: outputs[name][: match.rows] for name, match in self._matches.items()}


class _VitRecorder:
    """The modules of a known Vision Transformer."""

    def __init__(self, model: Model) -> None:
        self._vit = model.vit

    def record(self, sample: Array) -> dict[str, Array]:
        from vit_export.model.vit.taps import record_fp32_taps

        return record_fp32_taps(self._vit, sample)

    def record_taps(self, sample: Array) -> Mapping[str, Tap]:
        from vit_export.model.vit.taps import record_taps

        return record_taps(self._vit, sample)


class _CodeRecorder:
    """The modules inside a user's code, without the wrapper around it."""

    def __init__(self, model: Model) -> None:
        lowered = lower(model, batch_size=1)
        if not isinstance(lowered, LoweredProgram):
            raise TypeError(f"{model.name} is a known Vision Transformer.")
        self._values = ProgramValues(lowered.program)
        self._wrapper = WRAPPER if isinstance(model.module, TensorAnswer) else ""

    def record(self, sample: Array) -> dict[str, Array]:
        with torch.no_grad():
            return self._name(self._values.record(torch.from_numpy(sample[None])))

    def record_taps(self, sample: Array) -> Mapping[str, Tap]:
        with torch.no_grad():
            images = torch.from_numpy(sample[None]).double()
            exact = self._name(self._values.record_exact(images))
        return {name: Tap(rows, exact[name]) for name, rows in self.record(sample).items()}

    def _name(self, values: Mapping[str, torch.Tensor]) -> dict[str, Array]:
        """Return the outputs by the names that the user's code has, (rows, D) each."""
        prefix = f"{self._wrapper}." if self._wrapper else ""
        return {
            name.removeprefix(prefix): to_rows(one.numpy())
            for name, one in values.items()
            if not name.startswith(ANSWER) and name != self._wrapper
        }
