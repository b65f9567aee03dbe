"""The modules of a file of a known Vision Transformer, beside those of the eager model."""

from collections.abc import Mapping
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import require_taps
from vit_export.backends.records import ModuleNames
from vit_export.core.numerics import Array
from vit_export.model.taps import Tap
from vit_export.model.vit.taps import (
    BRANCH_NORMS,
    list_lowered_layers,
    list_taps,
    record_fp32_taps,
    record_taps,
    select_rows,
)
from vit_export.model.vit.vit import Vit


class VitTaps:
    """Taps by the names of layers, which the lowered model and the file have in common.

    Args:
        path: the file.
        manifest: its manifest.
        vit: its eager model.
        sample: one sample, which shows how many rows the file computes of each output.
        threads: threads of the runtime; None for its default.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        vit: Vit,
        *,
        sample: Array,
        threads: int | None,
    ) -> None:
        self._spec = spec = manifest.require_spec()
        self._vit = vit
        names = ModuleNames(
            modules=tuple(list_taps(spec)),
            layers=tuple(list_lowered_layers(spec)),
            outputs=spec.outputs,
        )
        self._taps = require_taps(path)(path, names, threads)
        smooths = bool(manifest.layers)  # SmoothQuant scales norms: they differ in a correct file
        self._rows = {
            name: len(output)
            for name, output in self._taps.run(sample).items()
            if not (smooths and name.endswith(BRANCH_NORMS))
        }

    def answer(self, sample: Array) -> Mapping[str, Array]:
        """As `PairedTaps.answer`."""
        return self._taps.run(sample)

    def expect(self, sample: Array) -> Mapping[str, Tap]:
        """As `PairedTaps.expect`."""
        taps = record_taps(self._vit, sample)
        exact = self._select({name: tap.fp64 for name, tap in taps.items()})
        plain = self._select({name: tap.fp32 for name, tap in taps.items()})
        return {name: Tap(rows, exact[name]) for name, rows in plain.items()}

    def expect_fp32(self, sample: Array) -> Mapping[str, Array]:
        """As `PairedTaps.expect_fp32`."""
        return self._select(record_fp32_taps(self._vit, sample))

    def _select(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs that are compared, those rows that the file computes."""
        return {
            name: select_rows(rows, self._rows[name], self._spec)
            for name, rows in outputs.items()
            if name in self._rows
        }
