"""Where an artifact stops being the model: the first module whose output leaves tolerance."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.backends.base import OpenTaps
from vit_export.backends.open import find_backend_of, read_manifest
from vit_export.backends.records import ModuleNames
from vit_export.backends.session import Taps
from vit_export.checkpoints.from_manifest import same_vit
from vit_export.core.errors import MissingError, ProofError, RequestError
from vit_export.core.numerics import Array
from vit_export.core.progress import Progress, silent
from vit_export.model.vit.spec import VitSpec
from vit_export.validation.compare import Comparison, compare
from vit_export.validation.samples import digest, make_samples

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.validation.taps import Tap

MEANS = {"mean", "patch_mean"}


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module of the model, and the image on which the artifact differs most in it."""

    name: str
    worst: Comparison

    @property
    def block(self) -> str:
        """The block it is a part of; empty for a block itself and for what is in none."""
        inside = re.match(r"(blocks\.\d+)\.", self.name)
        return inside[1] if inside else ""

    @property
    def share(self) -> float:
        """The largest error, over what is allowed."""
        return self.worst.max_abs / max(self.worst.allowed, 1e-300)


@dataclass(frozen=True, kw_only=True)
class Location:
    """Every module of an artifact held against eager PyTorch, in running order."""

    artifact: str
    runtime: str
    modules: tuple[Module, ...]

    @property
    def first(self) -> Module | None:
        """The first module that leaves tolerance."""
        return next((one for one in self.modules if not one.worst.passed), None)

    def to_mapping(self) -> Mapping[str, Any]:
        """Plain values, for JSON."""
        return {"first": self.first.name if self.first else None} | asdict(self)


class LocatedError(ProofError):
    """An artifact is not the model from some module on; `location` has all of them."""

    def __init__(self, location: Location, first: Module) -> None:
        message = f"{location.artifact} leaves the model at {first.name}: {first.worst.problem}"
        super().__init__(f"{message}.", "look at that layer's weights and at what was done to it.")
        self.location = location
        self.details = {"location": location.to_mapping()}


def locate_fault(
    path: Path, weights: Path | None, threads: int | None, progress: Progress = silent
) -> Location:
    """Every module of the artifact at `path`, held against eager PyTorch on its own samples.

    Raises:
        RequestError: no artifact of ours, or not the weights it was made of.
        MissingError: its runtime is not installed, or no sample can be made again here.
    """
    from vit_export.validation.taps import taps_of

    backend = find_backend_of(path)
    open_taps = backend.require_taps(path)
    session = backend.open(path, threads)
    manifest = read_manifest(session, path)
    manifest.check_plain(path)
    with progress("make the model again"):
        vit = same_vit(manifest, weights)
    taps = _taps(open_taps, path, manifest, threads)
    found: dict[str, list[Comparison]] = {}
    for recipe, sample in _samples(manifest):
        with progress(recipe):
            mine = taps.run(sample)
            for name, tap in taps_of(vit, sample).items():
                if name in mine and not _moved(name, manifest):
                    found.setdefault(name, []).append(_compared(tap, mine[name], manifest, recipe))
    modules = (Module(name=name, worst=_worst(told)) for name, told in found.items())
    return Location(artifact=str(path), runtime=session.runtime, modules=tuple(modules))


def _moved(name: str, manifest: Manifest) -> bool:
    """Whether a module answers something else on purpose: equalizing moves the norms' answers."""
    return bool(manifest.layers) and name.endswith(("attention_norm", "mlp_norm"))


def _taps(open_taps: OpenTaps, path: Path, manifest: Manifest, threads: int | None) -> Taps:
    from vit_export.validation.taps import layers_in_order, modules_of

    if manifest.batch.least > 1:
        message = f"{path} takes no single image, its batch is {manifest.batch}."
        raise RequestError(message, "export it with --batch dynamic, and look there.")
    spec = manifest.require_spec()
    names = ModuleNames(watched=tuple(modules_of(spec)), layers=tuple(layers_in_order(spec)))
    return open_taps(path, names, threads)


def _samples(manifest: Manifest) -> list[tuple[str, Array]]:
    reference = manifest.reference
    made = make_samples(reference.recipes, manifest.require_spec(), manifest.preprocessing)
    told = zip(reference.recipes, reference.digests, made, strict=True)
    kept = [(recipe, sample) for recipe, known, sample in told if digest(sample) == known]
    if not kept:
        raise MissingError("None of the samples could be made again.", "install the same Pillow.")
    return kept


def _compared(tap: "Tap", found: Array, manifest: Manifest, recipe: str) -> Comparison:
    expected = like(found, tap.fp32, manifest.require_spec())
    floor = float(np.abs(expected - like(found, tap.fp64, manifest.require_spec())).max())
    return compare(
        expected.astype(np.float32),
        found,
        floor,
        manifest.tolerance,
        classifies=False,  # the top class is validate's business; here numbers are followed
        sample=recipe,
    )


def like(found: Array, expected: Array, spec: VitSpec) -> Array:
    """The rows of eager's `expected` (N, D) that a lowered module has in `found` (rows, D).

    The last block computes only the tokens that the head looks at, or their mean (`lower_last`).
    """
    rows = len(found)
    if rows == 1 < len(expected) and spec.pool in MEANS:
        first = spec.prefix_tokens if spec.pool == "patch_mean" else 0
        mean: Array = expected[first:].mean(axis=0, keepdims=True)
        return mean
    return expected[:rows]


def _worst(found: Sequence[Comparison]) -> Comparison:
    return max(found, key=lambda one: (not one.passed, one.max_abs / max(one.allowed, 1e-300)))
