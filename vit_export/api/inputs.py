"""The files that a command reads, which none of its outputs may replace."""

from pathlib import Path

from vit_export.data.annotations import Annotations
from vit_export.model.vit.presets import load_preset


def list_inputs(
    *,
    weights: Path | None,
    model: object,
    labels: Path | None,
    images: Annotations | None,
) -> dict[str, Path | None]:
    """Return the files and folders that a command reads, by the option that names each.

    Args:
        weights: the checkpoint.
        model: the name of a preset or a TOML file; anything else is no file.
        labels: the file of class names.
        images: the images to measure accuracy on.

    Raises:
        RequestError: there is no such preset, or its file is invalid.
    """
    inputs = {"--weights": weights, "--labels": labels}
    if images is not None:
        inputs |= {"--images": images.folder, "--labels-csv": images.labels_csv}
    if isinstance(model, str):
        inputs |= {f"--model ({file.name})": file for file in load_preset(model).files}
    return inputs
