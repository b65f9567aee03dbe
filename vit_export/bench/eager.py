"""How a process of its own builds the eager model that a baseline runs or exports."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import find_backend_of
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.rebuild import ModelSource, check_code, rebuild_identical
from vit_export.core.errors import RequestError

if TYPE_CHECKING:  # torch is heavy, and an artifact is served without it
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class EagerRecipe:
    """An eager model in plain values: a known Vision Transformer, or the user's own code."""

    spec: Mapping[str, Any] | None = None
    """Fields of the ViT's spec; None for the user's own code."""
    weights: str = ""
    """A safetensors file under the names of our ViT, or the user's checkpoint; may be empty."""
    artifact: str = ""
    """The file that was exported from the user's own code; empty for a ViT."""
    module: str = ""
    """The user's own code, as `--module` names it."""
    arguments: tuple[str, ...] = ()
    """Its arguments, NAME=VALUE."""

    @property
    def has_weights(self) -> bool:
        """Whether the model has the artifact's own weights, so that its answers can be judged."""
        return bool(self.module or self.weights)

    def build(self) -> "nn.Module":
        """Return the model.

        Raises:
            RequestError: the weights do not fit, or the code can't be built.
        """
        if not self.module:
            from vit_export.model.vit.state import vit_from_file

            return vit_from_file(self.spec or {}, self.weights, "the model of the artifact")
        path = Path(self.artifact)
        manifest = find_backend_of(path).read_manifest(path)
        request = ModuleRequest.choose(self.module, self.arguments, None, None)
        weights = Path(self.weights) if self.weights else None
        return rebuild_identical(manifest, ModelSource(weights=weights, module=request)).module


def make_recipe(path: Path, manifest: Manifest, source: ModelSource, folder: Path) -> EagerRecipe:
    """Return how the eager model of an artifact is built.

    A ViT whose weights are nowhere to be found gets random ones.

    Args:
        path: the artifact.
        manifest: its manifest.
        source: what the user says that it was exported from.
        folder: where the weights of a ViT are written.

    Raises:
        RequestError: `source` is not what the artifact was exported from.
    """
    check_code(manifest, source.module)
    if manifest.spec is not None:
        weights = _write_weights(manifest, source, folder)
        return EagerRecipe(spec=manifest.spec.to_mapping(), weights=weights)
    rebuild_identical(manifest, source)  # refused here, in words, rather than in each process
    if source.module is None:
        raise TypeError("a model of no known family is built from code")
    return EagerRecipe(
        artifact=str(path),
        weights=str(source.weights or ""),
        module=source.module.text,
        arguments=tuple(f"{name}={value!r}" for name, value in source.module.arguments.items()),
    )


def _write_weights(manifest: Manifest, source: ModelSource, folder: Path) -> str:
    """Write a ViT's weights as safetensors; return the path, or an empty text without weights."""
    from safetensors.torch import save_file

    try:
        vit = rebuild_identical(manifest, source).module
    except RequestError:
        if source.weights is not None:
            raise
        return ""
    path = folder / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in vit.state_dict().items()}, path)
    return str(path)
