"""A user's request to validate a file: what the file should be, beyond its own claims."""

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.artifact.manifest import Manifest
from vit_export.checkpoints.hints import NO_HINTS, Check, CheckpointHints
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.checkpoints.rebuild import check_code
from vit_export.core.errors import RequestError

if TYPE_CHECKING:  # torch is heavy, and `validate` on a file alone is done without it
    from torch import nn

LARGEST_SEED = 2**32 - 1
"""Largest seed of NumPy's RandomState."""


@dataclass(frozen=True, kw_only=True)
class ValidationRequest:
    """What a user knows of a file.

    Raises:
        RequestError: a number is out of range, or a seed comes without weights.
    """

    weights: Path | None = None
    """The checkpoint that the file came from."""
    module: ModuleRequest | None = None
    """The user's own code that the file came from."""
    hints: CheckpointHints = NO_HINTS
    """How `weights` are read: `arch`, `prefix`, `head_from` and `base`."""
    check: Check = "auto"
    """Whether the library's own model has to answer as what was read from `weights`."""
    preset: str | None = None
    """Name or TOML file of the model whose labels and preprocessing the file should have."""
    memory: "nn.Module | None" = None
    """The model itself, for a file of another tool."""
    overrides: ModelOverrides
    """Labels and preprocessing that the file should have; and the image size and the outputs of a
    file of another tool, which does not say them."""
    output_names: tuple[str, ...] = ()
    """Outputs of a file of another tool, in the order of the model's; empty finds them."""
    min_snr: float | None = None
    """Minimum signal-to-noise ratio of every sample in dB."""
    seed: int | None = None
    """Seed of samples for this proof alone. With weights there always is one."""

    def __post_init__(self) -> None:
        if self.min_snr is not None and not 0 < self.min_snr < float("inf"):
            raise RequestError(f"--min-snr is {self.min_snr} dB.", "take 15 to 60, for example 25.")
        options = self.hints.list_checkpoint_options()
        if options and self.weights is None:
            message = f"There is no checkpoint for {' and '.join(options)}."
            raise RequestError(message, "give --weights too.")
        if self.seed is None:
            drawn = secrets.randbelow(LARGEST_SEED + 1) if self.origin else None
            object.__setattr__(self, "seed", drawn)
            return
        if not self.origin:
            message = "Samples drawn from a seed need the model itself to answer them."
            raise RequestError(message, "give --weights, or leave --seed out.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise RequestError(f"--seed is {self.seed}.", f"take 0 to {LARGEST_SEED}.")

    @property
    def origin(self) -> str:
        """What eager PyTorch is built from, for reports; empty if the file answers for itself."""
        if self.weights is not None:
            return self.weights.name
        if self.memory is not None:
            return f"{type(self.memory).__name__} in memory"
        return self.module.recorded if self.module is not None else ""


def check_own_file(path: Path, request: ValidationRequest) -> None:
    """Raise RequestError if an option says what a file of ours says itself."""
    given = {
        "--image-size": request.overrides.image_size,
        "--outputs": request.overrides.outputs,
        "--input": request.module and request.module.sample_shape,
        "--output-names": request.output_names,
        "a model in memory": request.memory is not None,
    }
    for option, value in given.items():
        if value:
            message = f"{option} is for files of other tools, and {path} says it itself."
            raise RequestError(message, f"leave {option} out.")


def check_model_options(manifest: Manifest, request: ValidationRequest) -> None:
    """Raise RequestError if an option says what the file's model, or the user's code, says."""
    if request.module is None:
        return
    check_code(manifest, request.module)
    options = replace(request.hints, prefix=None).list_checkpoint_options()
    if options:
        message = f"{options[0]} means nothing with --module: the code says it."
        raise RequestError(message, f"leave {options[0]} out.")
