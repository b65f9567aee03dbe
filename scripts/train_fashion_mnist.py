"""Trains the Fashion-MNIST ViT of `models/fashion_mnist` and measures it on all 10,000 test images.

    apt-get install dataset-fashion-mnist
    python scripts/train_fashion_mnist.py                 # trains, then writes the weights
    python scripts/train_fashion_mnist.py --epochs 0      # only measures the weights that are there

The weights are those of the last epoch: no choice is made on the test images.
"""

import gzip
import tomllib
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.vit import Vit

DATASET_PACKAGE = "dataset-fashion-mnist"
DATASET = Path("/usr/share/datasets/fashion-mnist")
MODEL = Path(__file__).resolve().parent.parent / "models" / "fashion_mnist"
SMOOTHING = 0.1
EVEN_ODDS = 0.5
console = Console()


def read_split(split: str) -> tuple[Tensor, Tensor]:
    """Return uint8 images (N, 1, 28, 28) and labels (N,) of `train` or `t10k`, from IDX files."""
    with gzip.open(DATASET / f"{split}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(DATASET / f"{split}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))


def normalize(images: Tensor, preprocessing: dict[str, list[float]]) -> Tensor:
    """Return uint8 images as the model's input; the images are 28x28 already."""
    return (images / 255 - preprocessing["mean"][0]) / preprocessing["std"][0]


def augment(images: Tensor) -> Tensor:
    """Flip each image at random, shift it by up to two pixels, and erase one patch."""
    count = len(images)
    flip = torch.rand(count) < EVEN_ODDS
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    rows = torch.randint(0, 5, (count, 1)) + torch.arange(28)
    columns = torch.randint(0, 5, (count, 1)) + torch.arange(28)
    padded = functional.pad(images, (2, 2, 2, 2), value=float(images.min()))
    index = torch.arange(count)[:, None, None]
    shifted = padded[:, 0][index, rows[:, :, None], columns[:, None, :]]
    rows, columns = torch.randint(0, 28, (2, count, 1, 1))
    sides = torch.randint(0, 9, (count, 1, 1))
    y, x = torch.arange(28)[None, :, None], torch.arange(28)[None, None, :]
    erased = ((y - rows).abs() * 2 < sides) & ((x - columns).abs() * 2 < sides)
    return shifted.masked_fill(erased, 0.0)[:, None]


@torch.inference_mode()
def measure_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images whose top class is the label."""
    model.eval()
    right = sum(
        int((model(batch).argmax(1) == answer).sum())
        for batch, answer in zip(images.split(500), labels.split(500), strict=True)
    )
    return right / len(labels)


def train(model: Vit, images: Tensor, labels: Tensor, epochs: int, batch: int) -> None:
    """Train in place: AdamW, one cycle of learning rate, label smoothing."""
    steps = len(images) // batch
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2e-3, epochs=epochs, steps_per_epoch=steps, pct_start=0.15
    )
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(images))[: steps * batch].split(batch)
        total = 0.0
        for indices in track(order, f"epoch {epoch + 1}/{epochs}", console=console):
            optimizer.zero_grad()
            logits = model(augment(images[indices]))
            loss = functional.cross_entropy(logits, labels[indices], label_smoothing=SMOOTHING)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        console.print(f"epoch {epoch + 1}: loss {total / steps:.4f}")


@click.command(help=__doc__)
@click.option("--epochs", default=14, show_default=True)
@click.option("--batch", default=128, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(epochs: int, batch: int, seed: int) -> None:
    if not DATASET.is_dir():
        raise click.ClickException(f"{DATASET} is missing. Fix: apt-get install {DATASET_PACKAGE}")
    torch.manual_seed(seed)
    config = tomllib.loads((MODEL / "fashion_mnist.toml").read_text())
    model = Vit(VitSpec.from_mapping(config["vit"], "fashion_mnist.toml"))
    weights = MODEL / "fashion_mnist.safetensors"
    if epochs:
        images, labels = read_split("train")
        train(model, normalize(images, config["preprocessing"]), labels, epochs, batch)
        save_file(model.state_dict(), weights)
    model.load_state_dict(load_file(weights))
    images, labels = read_split("t10k")
    accuracy = measure_accuracy(model, normalize(images, config["preprocessing"]), labels)
    console.print(f"accuracy on {len(labels):,} test images: {accuracy:.2%}")


if __name__ == "__main__":
    main()
