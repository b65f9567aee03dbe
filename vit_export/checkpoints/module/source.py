"""The module that a request names, filled with its weights, and what its origin records of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from vit_export.checkpoints.module.construct import construct
from vit_export.checkpoints.module.import_code import import_attribute
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.module.weights import load_weights
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.hash import hash_tensors

READING = "the module's own code is the reference"


@dataclass(frozen=True, kw_only=True, eq=False)
class ModuleSource:
    """A module with its weights, before any check."""

    module: nn.Module
    weights_from: str
    """A phrase: the name of a file, `random, seed 0`, or the code itself."""
    random_weights: bool = False
    unused: Mapping[str, str] = field(default_factory=dict)
    """Tensors of the checkpoint that the module lacks, each with the reason."""
    sample_shape: tuple[int, ...] | None = None
    """(C, H, W), if the origin records it."""
    classifies: bool = False
    """Whether the origin says that the answer is logits."""
    reading: str = READING
    """A phrase for reports: what the reference is."""
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()


def build_module(
    request: ModuleRequest, weights: Path | None, seed: int, prefix: str | None
) -> ModuleSource:
    """Return the module of a user's code, with the weights of a checkpoint or its own.

    Without `weights` it is built twice, from two seeds: weights that differ are random.

    Raises:
        RequestError: the code does not import or fails, returns no module, or has other weights.
    """
    with import_attribute(request) as attribute:
        module = construct(attribute, request, seed)
        if weights is not None:
            fit = load_weights(module, weights, prefix, request.recorded)
            keys = "".join(f"[{key}]" for key in fit.keys)
            name = weights.name + keys
            return ModuleSource(module=module, weights_from=name, unused=fit.unused)
        if attribute is not module and hash_tensors(module) != hash_tensors(
            construct(attribute, request, seed + 1)
        ):
            phrase = f"random, seed {seed}"
            return ModuleSource(module=module, weights_from=phrase, random_weights=True)
    return ModuleSource(module=module, weights_from=f"{request.recorded} itself")
