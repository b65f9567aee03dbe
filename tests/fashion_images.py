"""Images of Fashion-MNIST as a user has them: files in folders, and how many a file gets right."""

from pathlib import Path

import numpy as np
from PIL import Image

from vit_export.backends.open import open_artifact
from vit_export.data.preprocessing import preprocess
from vit_export.model.vit.presets import load_preset

PRESET = load_preset("fashion_mnist")


def slug(label: int) -> str:
    """The name of a class as a folder name."""
    return PRESET.labels[label].lower().replace("/", "_").replace(" ", "_")


def write_images(folder: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    """Write PNGs into `folder`, or into sub-folders called after their `labels`."""
    for i, image in enumerate(images):
        home = folder / slug(labels[i]) if labels is not None else folder
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / f"{i:03}.png")
    return folder


def count_right(artifact: Path, images: np.ndarray, labels: np.ndarray) -> int:
    """The number of right predictions, computed with Pillow, NumPy and the runtime alone."""
    inputs = np.stack(
        [preprocess(Image.fromarray(image), PRESET.preprocessing) for image in images]
    )
    return int((open_artifact(artifact).run(inputs).argmax(1) == labels).sum())
