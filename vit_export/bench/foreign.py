"""A file of another tool in a bench: it is held against the model of the first file."""

from dataclasses import replace
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of
from vit_export.core.errors import RequestError
from vit_export.validation.match_tensors import match_tensors, read_sample_shape
from vit_export.validation.tolerances import name_least_exact


def adopt_manifest(path: Path, model: Manifest | None) -> Manifest:
    """Return the manifest that a file of another tool would have as a file of this model.

    Raises:
        RequestError: there is no model to hold it against, or its tensors are others.
    """
    backend = find_backend_of(path)
    if model is None or backend.open_outputs is None:
        message = f"{path} carries no manifest of vit-export."
        fix = "give an ONNX file, behind a file of the same model that vit-export wrote."
        raise RequestError(message, fix)
    _, interface = backend.open_outputs(path, None, ())
    read_sample_shape(str(path), interface)
    matched = match_tensors(str(path), interface, model.signature)
    arithmetic = backend.find_precisions(path) or ()
    precision = name_least_exact(arithmetic)
    return replace(model, target=backend.name, precision=precision, batch=matched.batch, layers={})
