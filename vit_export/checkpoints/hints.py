"""Hints: facts about a checkpoint that its own files do not record and the user provides."""

from dataclasses import dataclass
from typing import Any

from vit_export.data.sizes import parse_image_size


@dataclass(frozen=True, kw_only=True)
class CheckpointHints:
    """Facts about the model of a checkpoint; None leaves a fact to the files."""

    heads: int | None = None
    """Number of attention heads."""
    activation: str | None = None
    """Activation of the MLP: `gelu`, `gelu_tanh` or `quick_gelu`."""
    pool: str | None = None
    """A value of `VitSpec.pool`."""
    norm_eps: float | None = None
    """Epsilon of the LayerNorms."""
    trained_size: str | None = None
    """HEIGHTxWIDTH of the training images, in pixels."""

    def spec_fields(self) -> dict[str, Any]:
        """Return the hints that are set, as fields of `VitSpec`.

        Raises:
            RequestError: `trained_size` is not an image size.
        """
        size = None if self.trained_size is None else parse_image_size(self.trained_size)
        fields = {
            "heads": self.heads,
            "mlp": self.activation,
            "pool": self.pool,
            "norm_eps": self.norm_eps,
            "image_size": size,
        }
        return {name: value for name, value in fields.items() if value is not None}
