"""The module of an artifact of no known family, built again from the user's own code."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from vit_export.artifact.manifest import Manifest
from vit_export.checkpoints.from_manifest import RANDOM
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.module.load import load_user_module
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.core.errors import RequestError
from vit_export.core.from_json import read_value
from vit_export.model.model import Model


def rebuild_module(
    manifest: Manifest, module: ModuleRequest | None, weights: Path | None, hints: CheckpointHints
) -> Model:
    """Return the eager model of `manifest`, from the code that the user names again.

    What the manifest says of that code is never run: it is compared with what the user gives.

    Raises:
        RequestError: no code is named, it was built with other arguments, its weights do not fit,
            or it answers another shape.
    """
    origin = manifest.overrides.get("module", "a module in memory")
    if module is None:
        message = f"{manifest.model} is no known family: the file was exported from {origin}."
        fix = "give that code too, such as --module net.py:build, and --weights if it needs them."
        raise RequestError(message, fix)
    _check_arguments(manifest, module)
    prefix = hints.prefix or manifest.overrides.get("prefix")
    seed = RANDOM.fullmatch(manifest.weights_from)
    model = load_user_module(
        replace(module, sample_shape=manifest.signature.sample_shape),
        weights=weights,
        prefix=prefix if isinstance(prefix, str) else None,
        seed=int(seed[1]) if seed else 0,
        batch_size=manifest.batch.fixed,
        says_logits=manifest.signature.classifies,
        outputs=_read_outputs(manifest),
    )
    if model.signature.answer_shape != manifest.signature.answer_shape:
        shapes = (model.signature.answer_shape, manifest.signature.answer_shape)
        message = f"--module {module.text} answers {shapes[0]}, and the file {shapes[1]}."
        raise RequestError(message, f"give the code that the file was exported from, {origin}.")
    return model


def _read_outputs(manifest: Manifest) -> tuple[str, ...] | None:
    """Return the parts of the module's answer that the export named; None if it named none."""
    recorded = manifest.overrides.get("outputs")
    if recorded is None:
        return None
    return cast("tuple[str, ...]", read_value(tuple[str, ...], recorded, "overrides.outputs"))


def _check_arguments(manifest: Manifest, module: ModuleRequest) -> None:
    """Raise RequestError unless the arguments are those of the export, where it was given any."""
    recorded = manifest.overrides.get("set", {})
    arguments = {name: repr(value) for name, value in module.arguments.items()}
    if isinstance(recorded, dict) and "module" in manifest.overrides and recorded != arguments:
        options = " ".join(f"--set {name}={value}" for name, value in recorded.items())
        message = f"The file was exported with {options or 'no --set'}."
        raise RequestError(message, f"give {options}." if options else "leave --set out.")
