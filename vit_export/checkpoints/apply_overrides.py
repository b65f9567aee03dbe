"""The user's overrides applied to a model: image size, outputs, labels and preprocessing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor
from typing import Any

from vit_export.checkpoints.overrides import ModelOverrides, PreprocessingOverrides
from vit_export.checkpoints.problem_type import KEY
from vit_export.checkpoints.resampling import check_resampling
from vit_export.core.errors import RequestError
from vit_export.data.label_file import read_labels
from vit_export.data.preprocessing import Preprocessing, check_resize, choose_mode
from vit_export.model.model import Model
from vit_export.model.signature import Signature
from vit_export.model.vit.spec_checks import check_divides


def apply_overrides(model: Model, overrides: ModelOverrides) -> Model:
    """Return `model` with the overrides; unchanged weights are shared with it.

    Raises:
        RequestError: the model can't have this size, or these classes, outputs, labels or
            preprocessing.
    """
    if model.spec is not None:
        model = _change_vit(model, overrides, overrides.spec_changes(model.spec))
    elif overrides.classes is not None:
        message = f"--classes means nothing for {model.name}: its own code says what it answers."
        raise RequestError(message, "leave --classes out, or change the code.")
    if overrides.preprocessing:
        _check_takes_images(model)
        model = _set_preprocessing(model, overrides.preprocessing)
    if model.preprocessing is not None:
        check_resize(model.preprocessing)
    if overrides.labels is not None:
        if not model.signature.classifies:
            raise RequestError("The model has no classes to label.", "leave --labels out.")
        labels = read_labels(overrides.labels, model.signature.classes or 0)
        model = model.with_overrides({"labels": overrides.labels.name}, labels=labels)
    return model


def _check_takes_images(model: Model) -> None:
    if not model.signature.takes_images:
        shape = "x".join(map(str, model.signature.sample_shape))
        message = f"{model.name} takes no images: its input is {shape}."
        raise RequestError(message, "leave --mean, --std and the other steps of images out.")


def _change_vit(model: Model, overrides: ModelOverrides, changes: Mapping[str, Any]) -> Model:
    """Return a Vision Transformer of another image size or with other outputs."""
    if "classes" in changes:
        raise RequestError(
            f"{model.provenance.weights_from} is for {model.signature.classes or 'no'} classes, "
            f"not {overrides.classes}.",
            "leave --classes out.",
        )
    if "image_size" in changes:
        model = _set_image_size(model, changes["image_size"])
    elif overrides.image_size is None and model.pipeline is not None:
        model = _follow_pipeline(model, model.pipeline)
    return model if overrides.outputs is None else _set_outputs(model, overrides.outputs)


def _follow_pipeline(model: Model, pipeline: Preprocessing) -> Model:
    """Return `model` for the images that its own preprocessing makes."""
    trained, size = ("x".join(map(str, one)) for one in (model.signature.image_size, pipeline.crop))
    note = f"its image processor makes images of {size}, at which its library computes and this "
    note += f"export does; its config.json says {trained}, which --image-size {trained} exports"
    return replace(_set_image_size(model, pipeline.crop), size_note=note)


def _set_image_size(model: Model, size: tuple[int, int]) -> Model:
    from vit_export.model.vit.adapt import resize_positions

    resampling = model.resampling
    spec = replace(model.vit.spec, image_size=size)
    if resampling is None or not resampling.drops_rim:
        check_divides(spec)
    check_resampling(model, spec.grid)
    changes = {
        **_remember_trained(model, {"image_size": size}),
        "resampling": resampling.to_mapping() if resampling else None,
    }
    model = model.with_vit(
        resize_positions(model.vit, size, resampling),
        preprocessing=_adapt(model, size),
        preprocessing_note="" if model.pipeline else model.preprocessing_note,
    )
    return model.with_overrides(changes)


def _adapt(model: Model, size: tuple[int, int]) -> Preprocessing | None:
    """Return the preprocessing of `model` for images of `size`."""
    if model.pipeline is not None and model.pipeline.crop == size:
        return model.pipeline
    return model.preprocessing.adapt_to(size) if model.preprocessing else None


def _set_outputs(model: Model, outputs: Sequence[str]) -> Model:
    from vit_export.model.vit.adapt import change_outputs

    vit = change_outputs(model.vit, outputs)
    if vit is model.vit:
        return model
    changes = _remember_trained(model, {"outputs": outputs[0] if len(outputs) == 1 else outputs})
    model = model.with_vit(vit)
    if not model.signature.classifies:
        assumed = {name: value for name, value in model.assumed.items() if name != KEY}
        model = replace(model, labels=(), problem_type="single_label", assumed=assumed)
    return model.with_overrides(changes)


def _remember_trained(model: Model, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `changes` together with the spec that the weights were trained with.

    A later proof rebuilds the model from that spec.
    """
    trained = model.provenance.overrides.get("trained", model.vit.spec.to_mapping())
    return {"trained": trained, **changes}


def _set_preprocessing(model: Model, overrides: PreprocessingOverrides) -> Model:
    preprocessing = override_preprocessing(model.preprocessing, model.signature, overrides)
    fields = {name: value for name, value in overrides.values().items() if name != "crop"}
    note = "" if overrides.complete else model.preprocessing_note
    return model.with_overrides(fields, preprocessing=preprocessing, preprocessing_note=note)


def override_preprocessing(
    preprocessing: Preprocessing | None, signature: Signature, overrides: PreprocessingOverrides
) -> Preprocessing:
    """Return `preprocessing` with the overridden fields, for the images of `signature`.

    A model without preprocessing needs mean, std and resize.

    Raises:
        RequestError: the crop is not the size of the model's images, or fields are missing.
    """
    fields = overrides.values()
    if fields.setdefault("crop", signature.image_size) != signature.image_size:
        (height, width), (rows, columns) = signature.image_size, fields["crop"]
        message = f"The model takes images of {height}x{width}, not of {rows}x{columns}."
        fix = f"crop to {height}x{width} or to a share (0.875), or give --image-size."
        raise RequestError(message, fix)
    share = fields.pop("share", None)
    if share is not None:  # as timm.data.create_transform computes a size from crop_pct
        size = signature.image_size
        fields["resize"] = max(floor(min(size) / share), *size)
    for name in ("mean", "std"):
        if len(fields.get(name, ())) == 1:
            fields[name] *= signature.channels
    if preprocessing is not None:
        return replace(preprocessing, **fields)
    missing = [name for name in ("mean", "std", "resize") if name not in fields]
    if missing:
        message = "The model came without preprocessing."
        raise RequestError(message, f"give --{' and --'.join(missing)} too.")
    return Preprocessing(mode=choose_mode(signature.channels), **fields)
