"""What every runtime offers: open a file, answer images, hand out the manifest."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import VitExportError
from vit_export.core.numerics import Array


class RunFailedError(VitExportError):
    """The runtime opened the artifact but could not run it on these images."""

    exit_code = 4


def in_one(outputs: Sequence[npt.NDArray[Any]]) -> Array:
    """The outputs of a file, (B, …) each, in one array: of several, (B, …, outputs)."""
    return np.asarray(outputs[0] if len(outputs) == 1 else np.stack(outputs, -1), np.float32)


class Session(Protocol):
    """An open artifact.

    One of an engine has `products` besides: how many of its products are done in which arithmetic.
    """

    runtime: str
    """Name and version of what runs it."""

    def run(self, images: npt.NDArray[Any]) -> Array:
        """Answers (B, …) to `images` (B, C, H, W), or to levels (B, H, W, C) where those go in.

        Of a file that answers the best classes: (B, k, 2), class and score.

        Raises:
            RunFailedError: the runtime refuses; the message is its own.
        """
        ...

    def manifest_json(self) -> str | None:
        """The manifest inside the file, or None in a foreign one."""
        ...
