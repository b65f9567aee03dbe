"""What a validation reads besides the file: the user's code, images, and the list of all files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.api.inputs import list_inputs
from vit_export.api.validation_request import ValidationRequest
from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of
from vit_export.checkpoints.module.request import ModuleRequest, parse_sample_shape
from vit_export.core.errors import RequestError
from vit_export.core.progress import Progress
from vit_export.data.annotations import Annotations
from vit_export.data.dataset import ImageDataset, open_dataset
from vit_export.model.score_function import describe_answer


def choose_module(
    text: str | None,
    arguments: Mapping[str, Any] | Sequence[str],
    input_shape: str | None,
    image_size: str | None,
    model: object,
) -> ModuleRequest | None:
    """Return the user's code, or the shape of the samples of a module in memory."""
    if text is None and model is not None and not isinstance(model, str):
        return ModuleRequest(sample_shape=parse_sample_shape(input_shape, image_size))
    return ModuleRequest.choose(text, arguments, input_shape, image_size)


def split_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names from a list, or from a text with commas."""
    parts = names.split(",") if isinstance(names, str) else names
    return tuple(one.strip() for one in parts if one.strip())


def list_files(
    artifact: Path, request: ValidationRequest, images: Annotations | None
) -> dict[str, Path | None]:
    """Return the files that a validation reads."""
    inputs = list_inputs(
        weights=request.weights,
        model=request.preset,
        labels=request.overrides.labels,
        images=images,
    )
    companions = find_backend_of(artifact).companions(artifact)
    beside = {f"ARTIFACT ({file.name})": file for file in companions}
    return {"ARTIFACT": artifact, **inputs, **beside}


def open_images(
    annotations: Annotations | None, origin: str, manifest: Manifest, progress: Progress
) -> ImageDataset | None:
    """Return the user's images; None without any.

    Raises:
        RequestError: they cannot be used, or there is nothing to compare answers with.
    """
    dataset = open_dataset(
        annotations,
        manifest.preprocessing,
        answer=describe_answer(manifest.signature, manifest.problem_type),
        classes=manifest.exclusive_classes,
        names=manifest.labels,
        progress=progress,
    )
    if dataset is not None and dataset.labels is None and not origin:
        message = f"The images in {dataset.folder} have no labels to compare answers with."
        can_label = manifest.exclusive_classes is not None
        by_label = ", or label them by sub-folders or --labels-csv" * can_label
        raise RequestError(message, f"give --weights for eager PyTorch's answers{by_label}.")
    return dataset
