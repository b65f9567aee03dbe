"""The modules of a file of any module, beside those of the user's own code.

The file is built again in fp32, which shows which of its values are outputs of modules: a file of
any precision has values of the same names.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vit_export.artifact.manifest import Manifest
from vit_export.backends.job import Job
from vit_export.backends.open import find_backend_of, require_values
from vit_export.backends.session import Values
from vit_export.core.numerics import Array
from vit_export.core.progress import silent
from vit_export.model.lower import lower
from vit_export.model.model import Model
from vit_export.model.program.answer import TensorAnswer
from vit_export.model.program.lowered import LoweredProgram
from vit_export.model.program.values import ANSWER, ProgramValues
from vit_export.model.taps import Tap
from vit_export.quantization.plan import QuantizationPlan
from vit_export.validation.match_values import Match, match_values

WRAPPER = "module"
"""The name of the user's module inside `TensorAnswer`."""
WHOLE = "the answer"
"""What the whole module is called, where no module inside it answers the same."""


@dataclass(frozen=True)
class _NamedMatch:
    """A module whose output a file has."""

    name: str
    """What the user calls it."""
    module: str
    """What it is called in the program."""
    match: Match


class ModuleTaps:
    """Taps by the numbers that a file of the model computes, if it is built now.

    Args:
        path: the file.
        manifest: its manifest.
        model: its eager model.
        sample: one sample (C, H, W), on which outputs are recognized.
        threads: threads of the runtime; None for its default.

    Raises:
        RequestError: the values in the file can't answer, or the code can't be captured.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        model: Model,
        *,
        sample: Array,
        threads: int | None,
    ) -> None:
        lowered = lower(model, batch_size=manifest.batch.fixed)
        if not isinstance(lowered, LoweredProgram):
            raise TypeError(f"{model.name} is a known Vision Transformer.")
        self._model = model
        self._program = ProgramValues(lowered.program)
        recorded = self._record(sample)
        outputs = {name: one for name, one in recorded.items() if not name.startswith(ANSWER)}
        wrapper = WRAPPER if isinstance(model.module, TensorAnswer) else ""
        outputs.pop(wrapper, None)
        if manifest.layers:  # SmoothQuant scales norms: they differ in a correct file too
            outputs = {name: one for name, one in outputs.items() if not _is_norm(model, name)}
        with tempfile.TemporaryDirectory() as folder:
            again = Path(folder) / path.name
            _build(again, lowered, path, manifest, sample)
            graph = require_values(again)(again, None, threads)
            matches = match_values(outputs, graph, sample)
        values = {match.value for match in matches.values()}
        self._file = require_values(path)(path, values, threads)
        found = _choose_taps(matches, graph, self._file, self._match_answers(recorded))
        prefix = f"{wrapper}." if wrapper else ""
        self._taps = [replace(tap, name=tap.name.removeprefix(prefix)) for tap in found]
        self._columns = {tap.name: recorded[tap.module].shape[-1] for tap in self._taps}

    def _match_answers(self, recorded: Mapping[str, Array]) -> list[_NamedMatch]:
        """Return the outputs of the file beside those of the program, which have one order."""
        outputs = zip(self._model.signature.outputs, self._file.answers, strict=True)
        keys = [f"{ANSWER}{number}" for number in range(len(self._file.answers))]
        return [
            _NamedMatch(output.name, key, Match(value, len(recorded[key])))
            for key, (output, value) in zip(keys, outputs, strict=True)
        ]

    def answer(self, sample: Array) -> Mapping[str, Array]:
        """As `PairedTaps.answer`."""
        values = self._file.run(sample, [tap.match.value for tap in self._taps])
        return {
            tap.name: to_rows(values[tap.match.value], self._columns[tap.name])
            for tap in self._taps
        }

    def expect(self, sample: Array) -> Mapping[str, Tap]:
        """As `PairedTaps.expect`."""
        with torch.no_grad():
            exact = self._program.record_exact(torch.from_numpy(sample[None]).double())
        exact_rows = self._select({name: to_rows(one.numpy()) for name, one in exact.items()})
        outputs = self.expect_fp32(sample)
        return {name: Tap(rows, exact_rows[name]) for name, rows in outputs.items()}

    def expect_fp32(self, sample: Array) -> Mapping[str, Array]:
        """As `PairedTaps.expect_fp32`."""
        return self._select(self._record(sample))

    def _record(self, sample: Array) -> dict[str, Array]:
        """Return the outputs of all modules; those of the whole module are its own code's."""
        image = torch.from_numpy(sample[None])
        with torch.no_grad():
            outputs = {name: one.numpy() for name, one in self._program.record(image).items()}
            parts = self._model.signature.split(self._model.module(image).numpy())
        outputs |= {f"{ANSWER}{number}": part for number, (_, part) in enumerate(parts)}
        return {name: to_rows(one) for name, one in outputs.items()}

    def _select(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of the taps, those rows that a file computes."""
        return {tap.name: outputs[tap.module][: tap.match.rows] for tap in self._taps}


def _is_norm(model: Model, name: str) -> bool:
    """Return whether a module inside a model is a norm, by the name of its class."""
    kind = type(model.module.get_submodule(name.partition("@")[0])).__name__
    return "norm" in kind.lower()


def to_rows(value: npt.NDArray[Any], columns: int | None = None) -> npt.NDArray[Any]:
    """Return an output (1, …, D) as a row per token, (rows, D), or as rows of `columns` numbers.

    A graph may hold the numbers of a module in another shape.
    """
    if columns is None or value.size % columns:
        columns = value.shape[-1]
    return np.ascontiguousarray(value.reshape(-1, columns))


def _build(
    out: Path,
    lowered: LoweredProgram,
    path: Path,
    manifest: Manifest,
    sample: Array,
) -> None:
    """Write the file at `path` again, in fp32."""
    backend = find_backend_of(path)
    job = Job(
        lowered=lowered,
        manifest=replace(manifest, precision="fp32", layers={}, fp16_range=None),
        plan=QuantizationPlan(),
        samples=sample[None],
        options=backend.parse_options(manifest.settings.values),
    )
    backend.build(job, out, silent)


def _choose_taps(
    matches: Mapping[str, Match], graph: Values, file: Values, answers: Sequence[_NamedMatch]
) -> list[_NamedMatch]:
    """Return the taps that the file has too: the outermost module of each value, and `answers`."""
    last, present = graph.answers, set(file.names)
    taps: dict[str, _NamedMatch] = {}
    for module, match in matches.items():
        if match.value in present and match.value not in taps and match.value not in last:
            taps[match.value] = _NamedMatch(module, module, match)
    if len(answers) > 1:
        return [*taps.values(), *answers]
    ends = (module for module, match in matches.items() if match.value == last[0])
    return [*taps.values(), replace(answers[0], name=next(ends, WHOLE))]
