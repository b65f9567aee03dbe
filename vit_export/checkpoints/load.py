"""From a request to the eager model: of a preset, a checkpoint, or a module in memory."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.apply_overrides import apply_overrides
from vit_export.checkpoints.assumptions import check_settled
from vit_export.checkpoints.from_file import load_checkpoint
from vit_export.checkpoints.from_memory import load_from_memory
from vit_export.checkpoints.hints import NO_HINTS, Check, CheckpointHints
from vit_export.checkpoints.module.options import check_options
from vit_export.checkpoints.module.request import ModuleRequest, parse_sample_shape
from vit_export.checkpoints.overrides import NO_OVERRIDES, ModelOverrides
from vit_export.checkpoints.problem_type import set_problem_type
from vit_export.core.errors import RequestError
from vit_export.model.model import Model, Provenance
from vit_export.model.vit.presets import DEFAULT, Preset, load_preset
from vit_export.model.vit.spec_checks import check_divides

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from collections.abc import Mapping

    from torch import Tensor, nn

    from vit_export.checkpoints.files import Checkpoint
    from vit_export.checkpoints.libraries.judging import CheckReading
    from vit_export.model.vit.spec import VitSpec

    ModelLike = str | Path | nn.Module | tuple[VitSpec, Mapping[str, Tensor]]


def load(
    model: "ModelLike | None" = None,
    *,
    weights: Path | None = None,
    seed: int = 0,
    hints: CheckpointHints = NO_HINTS,
    overrides: ModelOverrides = NO_OVERRIDES,
    check: Check = "auto",
    check_reading: "CheckReading | None" = None,
    module: ModuleRequest | None = None,
    batch_size: int | None = None,
) -> Model:
    """Return the eager model that a request names.

    Args:
        model: a preset's name or TOML file, a module in memory of a known family, or (VitSpec,
            state dict). None leaves the choice to the checkpoint; without a checkpoint it means the
            default preset.
        weights: a checkpoint file or folder. None takes the weights that ship with the preset, or
            else random ones.
        seed: seed of random weights.
        hints: facts that the checkpoint's own files do not record; all but the problem type need
            `weights`.
        overrides: properties that the exported model has instead of the checkpoint's. Trained
            position embeddings are resampled to another image size. Another number of classes needs
            random weights.
        check: whether the library's own model has to confirm what was read from `weights`.
        check_reading: called with the judge of a reading (the library's own model, or the module in
            memory) and the model that was read, before any overrides; see `CheckReading`. Without
            it nothing is checked.
        module: the user's own code in place of `model`; for a module in memory, the shape of its
            images.
        batch_size: the only size of a batch, for modules of no known family; None for any size.

    Raises:
        RequestError: there is no such model, weights, hints or overrides do not fit it, or
            `hints.strict` is set and something would be assumed.
        MissingError: `check` requires a library that cannot be imported.
    """
    says_logits = hints.problem_type is not None or overrides.labels is not None
    if module is not None and module.text:
        from vit_export.checkpoints.module.load import load_user_module

        check_options(module, model, hints, overrides, check)
        loaded = load_user_module(
            module,
            weights=weights,
            prefix=hints.prefix,
            seed=seed,
            batch_size=batch_size,
            says_logits=says_logits,
            outputs=overrides.outputs,
        )
    elif model is not None and not isinstance(model, str | Path):
        if weights or hints.list_checkpoint_options():
            raise RequestError(
                "A model in memory has its own weights and needs no hints about them.",
                "leave both out.",
            )
        example = None if module is None else module.sample_shape
        loaded = load_from_memory(
            model,
            check_reading=check_reading,
            sample_shape=example or parse_sample_shape(None, overrides.image_size),
            is_example=example is not None,
            batch_size=batch_size,
            says_logits=says_logits,
            outputs=overrides.outputs,
        )
    elif weights is not None:
        preset = None if model is None else str(model)
        loaded, checkpoint = _load_from_weights(weights, preset, hints, overrides)
        if check_reading is not None:
            loaded = _have_judged(loaded, checkpoint, hints, check, check_reading)
    else:
        loaded = _load_preset(str(model or DEFAULT), seed, hints, overrides)
    if hints.strict:
        check_settled(loaded, str(weights))
    return apply_overrides(set_problem_type(loaded, hints.problem_type), overrides)


def _load_preset(name: str, seed: int, hints: CheckpointHints, overrides: ModelOverrides) -> Model:
    if hints.list_checkpoint_options():
        options = " and ".join(hints.list_checkpoint_options())
        raise RequestError(f"There is no checkpoint for {options}.", "give --weights too.")
    preset = load_preset(name)
    if preset.weights is not None:
        return _load_shipped(preset, preset.weights)
    return _build_random(preset, seed, overrides.spec_changes(preset.spec))


def _load_from_weights(
    weights: Path,
    preset: str | None,
    hints: CheckpointHints,
    overrides: ModelOverrides,
) -> "tuple[Model, Checkpoint]":
    from vit_export.checkpoints.libraries.arch import read_hinted

    checkpoint = read_hinted(weights, hints)
    loaded = load_checkpoint(
        checkpoint,
        None if preset is None else load_preset(preset),
        hints,
        needs_preprocessing=not overrides.preprocessing.complete,
        needs_labels=overrides.labels is None and "logits" in (overrides.outputs or {"logits"}),
        outputs=overrides.outputs,
    )
    return loaded, checkpoint


def _have_judged(
    model: Model,
    checkpoint: "Checkpoint",
    hints: CheckpointHints,
    check: Check,
    check_reading: "CheckReading",
) -> Model:
    from vit_export.checkpoints.libraries.judging import judge_reading

    return judge_reading(checkpoint, model, check, check_reading, has_arch=bool(hints.arch))


def _load_shipped(preset: Preset, weights: Path) -> Model:
    from vit_export.checkpoints.files import read_checkpoint
    from vit_export.checkpoints.from_state_dict import load_vit

    return Model.from_vit(
        load_vit(preset.spec, read_checkpoint(weights).tensors, str(weights)),
        name=preset.name,
        provenance=Provenance(weights_from=weights.name, preset=preset.shipped_name),
        preprocessing=preset.preprocessing,
        labels=preset.labels,
    )


def _build_random(preset: Preset, seed: int, changes: dict[str, Any]) -> Model:
    from vit_export.model.vit.state import random_vit

    spec = replace(preset.spec, **changes)
    check_divides(spec)
    preprocessing = preset.preprocessing
    if preprocessing and changes:
        preprocessing = preprocessing.adapt_to(spec.image_size)
    return Model.from_vit(
        random_vit(spec, seed),
        name=preset.name,
        provenance=Provenance(
            weights_from=f"random, seed {seed}",
            random_weights=True,
            overrides=changes,
            preset=preset.shipped_name,
        ),
        preprocessing=preprocessing,
        labels=preset.labels if "classes" not in changes else (),
    )
