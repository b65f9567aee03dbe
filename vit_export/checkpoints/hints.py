"""Hints: facts about a checkpoint that its own files do not record and the user provides."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from vit_export.core.errors import RequestError, did_you_mean
from vit_export.data.sizes import parse_image_size
from vit_export.model.signature import ProblemType

Check = Literal["off", "auto", "require"]
"""A value of `--check`: whether the library's own model has to confirm a reading."""
OPTIONS = {
    "heads": "--heads",
    "mlp": "--activation",
    "pool": "--pool",
    "norm_eps": "--norm-eps",
    "image_size": "--trained-size",
    "arch": "--arch",
    "prefix": "--prefix",
    "head_from": "--head-from",
    "base": "--base",
    "strict": "--strict",
    "problem_type": "--problem-type",
}
"""Hints to the options that set them; a fact about the model has its name in VitSpec."""

PATCH_MEAN_NORM = "patch_mean_norm"
"""The mean of the patches with the final norm behind it: OpenCLIP's `final_ln_after_pool`."""
READING = ("arch", "prefix", "head_from", "base", "strict")
"""Hints about the way a checkpoint is read, which are no facts about the model."""
PROBLEM_TYPE = "problem_type"
"""A hint that suits a model in memory and a preset too: their weights do not record it."""


@dataclass(frozen=True, kw_only=True)
class CheckpointHints:
    """Facts about the model of a checkpoint; None leaves a fact to the files."""

    heads: int | None = None
    """Number of attention heads."""
    activation: str | None = None
    """Activation of the MLP: `gelu`, `gelu_tanh`, `quick_gelu` or `swiglu`."""
    pool: str | None = None
    """A value of `VitSpec.pool`, or `PATCH_MEAN_NORM`."""
    norm_eps: float | None = None
    """Epsilon of the LayerNorms."""
    trained_size: str | None = None
    """HEIGHTxWIDTH of the training images, in pixels."""
    arch: str | None = None
    """The library's own model: `timm:NAME` of an architecture, or `transformers:CLASS`."""
    prefix: str | None = None
    """Prefix of the tensors to read, such as `student.`; the others are left out."""
    head_from: str | None = None
    """Name of the module whose tensors are the classifier, such as `classifier`."""
    base: Path | None = None
    """The checkpoint that an adapter (LoRA) belongs to."""
    strict: bool = False
    """Whether everything that would be assumed is an error that names its option."""

    problem_type: ProblemType | None = None
    """What the logits are for."""

    def __post_init__(self) -> None:
        """Raise RequestError unless the problem type is one."""
        if self.problem_type not in {None, *get_args(ProblemType)}:
            fix = did_you_mean(str(self.problem_type), get_args(ProblemType))
            raise RequestError(f"problem_type is {self.problem_type!r}.", fix)

    @classmethod
    def select(cls, keywords: Mapping[str, Any]) -> Self:
        """Return the hints among the keywords of a Python function, by their names."""
        values = {one.name: keywords[one.name] for one in fields(cls) if one.name in keywords}
        base = values.get("base")
        return cls(**values | {"base": None if base is None else Path(base)})

    def spec_fields(self) -> dict[str, Any]:
        """Return the hints about the model that are set, as fields of `VitSpec`.

        Raises:
            RequestError: `trained_size` is not an image size.
        """
        size = None if self.trained_size is None else parse_image_size(self.trained_size)
        fields = {
            "heads": self.heads,
            "mlp": self.activation,
            "pool": "patch_mean" if self.pool == PATCH_MEAN_NORM else self.pool,
            "norm_eps": self.norm_eps,
            "image_size": size,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def list_options(self) -> list[str]:
        """Return the options of the hints that are set, for errors.

        Raises:
            RequestError: as in `spec_fields`.
        """
        options = self.list_checkpoint_options()
        return [*options, *([OPTIONS[PROBLEM_TYPE]] if self.problem_type else [])]

    def list_checkpoint_options(self) -> list[str]:
        """Return the options of the hints that are set and that only a checkpoint takes.

        Raises:
            RequestError: as in `spec_fields`.
        """
        names = [*self.spec_fields(), *(name for name in READING if getattr(self, name))]
        return [OPTIONS[name] for name in names]


NO_HINTS = CheckpointHints()
