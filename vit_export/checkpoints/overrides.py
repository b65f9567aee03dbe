"""A model as the request wants it: another size, another answer, other labels and preprocessing."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import floor
from typing import Any

from vit_export.checkpoints.request import Wanted, overrides_of
from vit_export.core.errors import RequestError
from vit_export.data.labels import read_labels
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.model import Source
from vit_export.model.vit.spec import VitSpec

LARGEST_RESIZE = 16
"""Over the longer side of what the model takes; evaluation resizes to less than twice that."""


def adapted(source: Source, wanted: Wanted) -> Source:
    """`source` as it is wanted; weights that need no change are shared with it.

    Raises:
        RequestError: classes, an answer, labels or preprocessing that the model can't have.
    """
    overrides = overrides_of(source.vit.spec, wanted.image_size, wanted.classes)
    if "classes" in overrides:
        raise RequestError(
            f"{source.weights_from} is for {source.vit.spec.classes or 'no'} classes, "
            f"not {wanted.classes}.",
            "leave --classes out.",
        )
    if "image_size" in overrides:
        source = _at_size(source, overrides["image_size"])
    if wanted.outputs is not None:
        source = _answering(source, wanted.outputs)
    if wanted.steps:
        steps = with_steps(source.preprocessing, source.vit.spec, wanted.steps)
        told = {name: value for name, value in wanted.steps.items() if name != "crop"}
        note = "" if tells_all(wanted.steps) else source.preprocessing_note
        overrides = {**source.overrides, **told}
        source = replace(source, preprocessing=steps, preprocessing_note=note, overrides=overrides)
    if source.preprocessing is not None:
        _check_resize(source.preprocessing)
    if wanted.labels is not None:
        if not source.vit.spec.classifies:
            raise RequestError("The model has no classes to label.", "leave --labels out.")
        source = replace(source, labels=read_labels(wanted.labels, source.vit.spec.classes or 0))
    return source


def tells_all(steps: Mapping[str, Any]) -> bool:
    """Whether nothing is left to assume, but perhaps the interpolation."""
    return {"mean", "std"} <= steps.keys() and bool({"resize", "share"} & steps.keys())


def _at_size(source: Source, size: tuple[int, int]) -> Source:
    from vit_export.model.vit.adapt import resize_positions

    steps = source.preprocessing
    return replace(
        source,
        vit=resize_positions(source.vit, size, source.resampling),
        preprocessing=steps.at(size) if steps else None,
        overrides={
            **_changed(source, {"image_size": size}),
            "resampling": asdict(source.resampling) if source.resampling else None,
        },
    )


def _answering(source: Source, outputs: str) -> Source:
    from vit_export.model.vit.adapt import change_outputs

    vit = change_outputs(source.vit, outputs)
    if vit is source.vit:
        return source
    overrides = _changed(source, {"outputs": outputs})
    return replace(source, vit=vit, labels=(), overrides=overrides)


def _changed(source: Source, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides, and what the weights were trained as: a later proof begins from that."""
    return {"trained": asdict(source.vit.spec), **source.overrides, **overrides}


def with_steps(
    steps: Preprocessing | None, spec: VitSpec, wanted: Mapping[str, Any]
) -> Preprocessing:
    """`steps` with the `wanted` fields, for images of `spec`; all of them, where there are none.

    Raises:
        RequestError: another crop than the model takes, or fields without which nothing is known.
    """
    fields = dict(wanted)
    if fields.setdefault("crop", spec.image_size) != spec.image_size:
        (height, width), (high, wide) = spec.image_size, fields["crop"]
        message = f"The model takes images of {height}x{width}, not of {high}x{wide}."
        fix = f"crop to {height}x{width} or to a share (0.875), or give --image-size."
        raise RequestError(message, fix)
    share = fields.pop("share", None)
    if share is not None:  # as timm.data.create_transform makes the size of a crop_pct
        fields["resize"] = max(floor(min(spec.image_size) / share), *spec.image_size)
    for name in ("mean", "std"):
        if len(fields.get(name, ())) == 1:
            fields[name] *= spec.channels
    if steps is not None:
        return replace(steps, **fields)
    missing = [name for name in ("mean", "std", "resize") if name not in fields]
    if missing or spec.channels not in {1, 3}:
        message = "The model came without preprocessing."
        raise RequestError(message, f"give --{' and --'.join(missing or ['mean', 'std'])} too.")
    return Preprocessing(mode="L" if spec.channels == 1 else "RGB", **fields)


def _check_resize(steps: Preprocessing) -> None:
    """Nothing, unless images would fill the memory before they are cropped."""
    largest = LARGEST_RESIZE * max(steps.crop)
    side = max(steps.resize) if isinstance(steps.resize, tuple) else steps.resize
    if side > largest:
        (height, width), share = steps.crop, min(steps.crop) / largest
        message = f"Resizing to {side} pixels is out of proportion to the {height}x{width} that "
        fix = f"--resize to at most {largest}, or --crop to a share of {share:.4f} or more."
        raise RequestError(message + "the model takes.", fix)
