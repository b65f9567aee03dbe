"""Lists the layers of a model."""

from dataclasses import replace
from pathlib import Path

from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.model.signature import ProblemType
from vit_export.model.vit.presets import DEFAULT, load_preset
from vit_export.model.vit.spec_checks import check_divides
from vit_export.model.vit.summary import Summary, summarize


def summary(
    model: str | None = None,
    *,
    weights: str | Path | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    arch: str | None = None,
    prefix: str | None = None,
    head_from: str | None = None,
    base: str | Path | None = None,
    strict: bool = False,
    problem_type: ProblemType | None = None,
    image_size: str | None = None,
    classes: int | None = None,
) -> Summary:
    """List the layers of a preset or a checkpoint: output shape and parameters of each.

    A preset needs no weights for this.

    Args:
        model: a preset's name or TOML file; None for the default, or with `weights` for the
            checkpoint's own architecture.
        weights: a checkpoint, file or folder.
        heads: the number of attention heads, if the checkpoint does not record it.
        activation: `gelu`, `gelu_tanh`, `quick_gelu` or `swiglu`, if the checkpoint does not
            record it.
        pool: a value of `VitSpec.pool`, if the model does not pool as its family does.
        norm_eps: the epsilon of the LayerNorms, if it is not the family's.
        trained_size: "HxW" of the training images, if they were not square.
        arch: the library's own model, `timm:NAME` or `transformers:CLASS`.
        prefix: prefix of the tensors to read, such as "student."; the others are left out.
        head_from: name of the module whose tensors are the classifier.
        base: the checkpoint that an adapter (LoRA) belongs to.
        strict: whether what would be assumed about a checkpoint is an error instead.
        problem_type: what the logits are for; no layer depends on it.
        image_size: "HxW" of the images that the model takes.
        classes: number of classes. Trained weights accept only their own number.

    Raises:
        RequestError: there is no such preset, the checkpoint cannot be read or does not fit, or a
            size is invalid.
    """
    hints = CheckpointHints.select(locals())
    overrides = ModelOverrides(image_size=image_size, classes=classes)
    if weights is not None or hints.list_options():
        path = None if weights is None else Path(weights)
        loaded = load(model, weights=path, hints=hints, overrides=overrides)
        return summarize(loaded.name, loaded.vit.spec)
    preset = load_preset(model or DEFAULT)
    spec = replace(preset.spec, **overrides.spec_changes(preset.spec))
    check_divides(spec)
    return summarize(preset.name, spec)
