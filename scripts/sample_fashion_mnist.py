"""Writes the Fashion-MNIST samples that ship: 20 PNGs of the model and 500 images for the tests.

    apt-get install dataset-fashion-mnist
    python scripts/sample_fashion_mnist.py

The samples are the first two test images of each class. The images for the tests are the first 500.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from train_fashion_mnist import MODEL, read_split

TESTS = Path(__file__).resolve().parent.parent / "tests" / "data" / "fashion_mnist_500.npz"
PER_CLASS = 2
SUBSET = 500


def main() -> None:
    images, labels = (tensor.numpy() for tensor in read_split("t10k"))
    folder = MODEL / "images"
    folder.mkdir(exist_ok=True)
    for label, name in enumerate((MODEL / "labels.txt").read_text().split("\n")[:10]):
        slug = name.lower().replace("/", "_").replace(" ", "_")
        for number, index in enumerate(np.flatnonzero(labels == label)[:PER_CLASS], start=1):
            Image.fromarray(images[index, 0]).save(folder / f"{slug}_{number}.png", optimize=True)
    TESTS.parent.mkdir(exist_ok=True)
    np.savez_compressed(TESTS, images=images[:SUBSET, 0], labels=labels[:SUBSET].astype(np.uint8))


if __name__ == "__main__":
    main()
