"""The libraries that checkpoints come from; a new one is one file and one line here."""

from vit_export.checkpoints.libraries import open_clip, timm, torchvision, transformers
from vit_export.checkpoints.libraries.base import Library

LIBRARIES: dict[str, Library] = {
    one.name: one
    for one in (timm.TIMM, transformers.TRANSFORMERS, torchvision.TORCHVISION, open_clip.OPEN_CLIP)
}
"""Libraries by the name that stands before the colon of `--arch`."""
