"""Whether the fields of a manifest agree with each other."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.data.label_values import check_names
from vit_export.data.preprocessing import check_resize

if TYPE_CHECKING:  # the manifest calls this when it is read
    from vit_export.artifact.manifest import Manifest

DIGEST = re.compile("[0-9a-f]{64}")
FIX = "export the model again."
WRONG_HEADS = {
    "single_label": (),
    "multi_label": ("softmax",),
    "regression": ("softmax", "sigmoid", "top5"),
}
"""Values of `--head` that mean nothing for a problem type."""


def check_consistent(manifest: "Manifest", where: str) -> None:
    """Raise RequestError unless all fields describe one model; the message names the field."""
    for problem in _find_contradictions(manifest):
        raise RequestError(f"{where}: {problem}.", FIX)
    try:
        check_names(manifest.labels, where)
    except RequestError as error:
        raise RequestError(error.message, "export the model again, with --labels FILE.") from None
    if manifest.preprocessing is not None:
        try:
            check_resize(manifest.preprocessing)
        except RequestError as error:
            raise RequestError(f"{where}: preprocessing: {error.message}", FIX) from None


def _find_contradictions(manifest: "Manifest") -> Iterator[str]:
    signature, reference = manifest.signature, manifest.reference
    if manifest.spec is not None and manifest.spec.signature != signature:
        yield "spec and signature describe different models"
    if manifest.labels and len(manifest.labels) != signature.classes:
        yield f"labels has {len(manifest.labels)} names for {signature.classes or 'no'} classes"
    steps = manifest.preprocessing
    if steps is not None and (len(steps.mean), *steps.crop) != signature.sample_shape:
        yield f"preprocessing makes other images than the model's {signature.sample_shape}"
    if reference.answers.shape[1:] != signature.answer_shape:
        yield f"reference.answers has shape {reference.answers.shape}, not that of the signature"
    outputs = len(signature.outputs) if signature.is_joined else 0
    if len(reference.output_floors) != outputs:
        yield f"reference.output_floors has {len(reference.output_floors)} rows, not {outputs}"
    yield from _find_wrong_head(manifest)
    if manifest.takes_pixels and steps is None:
        yield "settings.preprocess is 'graph' without preprocessing"
    if manifest.engine_run is not None and not manifest.engine:
        yield "engine_run is set without engine"
    for i, digest in enumerate(reference.digests):
        if not DIGEST.fullmatch(digest):
            yield f"reference.digests[{i}] is no SHA-256"


def _find_wrong_head(manifest: "Manifest") -> Iterator[str]:
    head, problem_type = manifest.head, manifest.problem_type
    if head != "logits" and not manifest.signature.classifies:
        yield f"settings.head is {head!r} for a model without classes"
    elif head != "logits" and manifest.signature.is_joined:
        yield f"settings.head is {head!r} for a model with several outputs"
    elif head in WRONG_HEADS[problem_type]:
        yield f"settings.head is {head!r} for a {problem_type} model"
