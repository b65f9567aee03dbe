"""The plan that a file in precision auto stores: the scheme of each quantized layer."""

from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of
from vit_export.core.errors import RequestError


def read_schemes(path: Path, manifest: Manifest) -> dict[str, str]:
    """Return the scheme of each quantized layer of an earlier file in precision auto.

    Args:
        path: the earlier file.
        manifest: of the file to build, whose blocks have to be the same.

    Raises:
        RequestError: vit-export did not write the file, not in precision auto, or for a model with
            other blocks.
    """
    earlier = find_backend_of(path).read_manifest(path)
    if earlier.precision != "auto":
        message = f"{path} is in {earlier.precision}, which has no plan to repeat."
        raise RequestError(message, "give --plan a file in --precision auto.")
    theirs, ours = (_describe(one) for one in (earlier, manifest))
    if theirs != ours:
        message = f"{path} is a model of {theirs}, and this one has {ours}."
        raise RequestError(message, "give --plan a file of the same architecture.")
    return dict(earlier.layers)


def _describe(manifest: Manifest) -> str:
    """Return the size of a known model; the layers of any other tell whether a plan fits."""
    if manifest.spec is None:
        return "blocks of no known family"
    return f"{manifest.spec.depth} blocks of width {manifest.spec.width}"
