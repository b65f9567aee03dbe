"""Image sizes as users write them: `384`, or `384x256` with the height first."""

import re

from vit_export.core.errors import RequestError


def parse_image_size(text: str) -> tuple[int, int]:
    """Return height and width in pixels.

    Raises:
        RequestError: the text is neither one side nor HEIGHTxWIDTH.
    """
    if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", text):
        raise RequestError(f"{text!r} is no image size.", "give HEIGHTxWIDTH or one side: 384x256.")
    height, _, width = text.partition("x")
    return int(height), int(width or height)
