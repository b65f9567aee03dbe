"""What every runtime offers: open a file, answer images, hand out the manifest."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from vit_export.errors import VitExportError

Array = npt.NDArray[np.float32]


class RunFailedError(VitExportError):
    """The runtime opened the artifact but could not run it on these images."""

    exit_code = 4


class Session(Protocol):
    """An open artifact."""

    runtime: str
    """Name and version of what runs it."""

    def run(self, images: Array) -> Array:
        """Answers (B, …) to `images` (B, C, H, W).

        Raises:
            RunFailedError: the runtime refuses; the message is its own.
        """
        ...

    def manifest_json(self) -> str | None:
        """The manifest inside the file, or None in a foreign one."""
        ...
