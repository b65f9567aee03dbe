"""The part of a manifest that a model says, whoever wrote the file."""

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.reference import Reference
from vit_export.model.model import Model
from vit_export.validation.tolerances import TOLERANCES


def describe_model(model: Model, target: str, reference: Reference) -> Manifest:
    """Return the manifest of a file in fp32 that takes any batch size.

    Args:
        model: the model that the file is, or should be.
        target: name of the file's backend.
        reference: the model's answers to the samples of a proof.
    """
    from vit_export.model.hash import hash_tensors

    return Manifest(
        target=target,
        model=model.name,
        signature=model.signature,
        precision="fp32",
        batch=Batch(),
        weights_sha256=hash_tensors(model.module),
        weights_from=model.provenance.weights_from,
        preprocessing=model.preprocessing,
        labels=model.labels,
        problem_type=model.problem_type,
        assumed=model.assumed,
        reading=model.reading,
        versions={},
        tolerance=TOLERANCES["fp32"],
        reference=reference,
    )
