"""The eager model of an artifact, rebuilt from the weights or the code that the user gives."""

from dataclasses import dataclass
from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.checkpoints.from_manifest import rebuild_identical_vit
from vit_export.checkpoints.hints import NO_HINTS
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.core.errors import RequestError
from vit_export.model.model import Model, Provenance


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What an artifact was exported from."""

    weights: Path | None = None
    """The checkpoint; weights that ship and random ones need none."""
    module: ModuleRequest | None = None
    """The user's own code, for a model of no known family."""


def rebuild_identical(manifest: Manifest, source: ModelSource) -> Model:
    """Return the eager model of `manifest`, with exactly the weights of the artifact.

    Raises:
        RequestError: the weights differ from those of the artifact, or are missing; or code is
            named for a known family, or none for another model, or it can't be built.
    """
    from vit_export.checkpoints.module.rebuild import rebuild_module
    from vit_export.model.hash import hash_tensors

    check_code(manifest, source.module)
    if manifest.spec is not None:
        vit = rebuild_identical_vit(manifest, source.weights)
        provenance = Provenance(weights_from=manifest.weights_from)
        return Model.from_vit(vit, name=manifest.model, provenance=provenance)
    model = rebuild_module(manifest, source.module, source.weights, NO_HINTS)
    if hash_tensors(model.module) != manifest.weights_sha256:
        message = f"{source.weights or model.name} does not hold the weights of the artifact."
        raise RequestError(message, f"give those it was made of: {manifest.weights_from}.")
    return model


def check_code(manifest: Manifest, module: ModuleRequest | None) -> None:
    """Raise RequestError if the user names code for a file whose model needs none."""
    if module is not None and manifest.spec is not None:
        message = f"{manifest.model} is of a known family: no code answers for it."
        raise RequestError(message, "leave --module out, and give --weights alone.")
