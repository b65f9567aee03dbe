"""transformers: the class that a config.json names, in its eager attention and in fp32."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vit_export.checkpoints.files import Checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.libraries.base import CannotJudgeError, Config, Judge, Library
from vit_export.checkpoints.libraries.building import (
    OTHER_ARCH,
    check_shapes,
    fill_missing,
    report_failure,
)
from vit_export.core.errors import RequestError

if TYPE_CHECKING:
    from vit_export.checkpoints.families.base import Family

ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu"}
"""Our names of activations to those of transformers."""
ENDS = ("Model", "ForImageClassification", "WithTeacher", "WithProjection", "ForPreTraining")
"""Ends of the names of classes that answer images."""
POSITIONS = "embedding.positions"
PRETRAINING = ("ForPreTraining", "ForMaskedImageModeling")
"""Ends of the names of classes whose encoder alone is of use after the training."""


def _list_names(transformers: Any) -> Iterable[str]:
    return [name for name in dir(transformers) if name.endswith(ENDS)]


def _sketch(name: str) -> Config:
    return {"architectures": [name]}


def _describe(
    transformers: Any, name: str, checkpoint: Checkpoint, hints: CheckpointHints
) -> Config:
    """Return the config.json of a class: its defaults, the sizes of the tensors, and hints."""
    from vit_export.checkpoints.families import find_family
    from vit_export.checkpoints.families.naming import build_name_lookup
    from vit_export.checkpoints.families.translation import translate
    from vit_export.checkpoints.infer_sizes import infer_parts, infer_sizes

    where = str(checkpoint.path)
    family = find_family(checkpoint.tensors, where)
    translation = translate(family, checkpoint.tensors)
    tensors, lookup = translation.tensors, build_name_lookup(family, translation)
    sizes = infer_sizes(tensors, where, lookup) | infer_parts(tensors)
    vision = {theirs: sizes[ours] for theirs, ours in family.config_sizes.items() if ours in sizes}
    vision |= {**family.config_values, **_find_side(tensors), **_translate_hints(hints)}
    kind = _find_class(transformers, name).config_class
    _check_family(kind().to_dict(), family, name, where)
    _check_heads(kind(), vision, name)
    values = {"vision_config": vision} if "vision_config" in kind.sub_configs else vision
    if sizes["projection"] is not None:
        values["projection_dim"] = sizes["projection"]
    config: dict[str, Any] = kind(**values).to_dict()
    config.pop("id2label", None)  # names such as LABEL_0
    if POSITIONS not in tensors and "image_size" not in vision:
        config.pop("image_size", None)  # no tensor depends on it
    labels = {"num_labels": sizes["classes"]} if sizes["classes"] else {}
    return config | {"architectures": [name]} | labels


def _find_side(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the `image_size` of square images that the number of positions shows, if it does."""
    from vit_export.checkpoints.infer_positions import find_size_of_table
    from vit_export.checkpoints.infer_sizes import TABLE

    if TABLE in tensors:
        side_of_patch = tensors["embedding.projection.weight"].shape[-1]
        size = find_size_of_table(tensors[TABLE], side_of_patch)
        return {} if size is None else {"image_size": size[0]}
    if POSITIONS not in tensors:
        return {}
    registers = len(tensors.get("embedding.register_tokens", ()))
    others = sum(f"embedding.{kind}_token" in tensors for kind in ("class", "distillation"))
    count, patch = len(tensors[POSITIONS]), tensors["embedding.projection.weight"]
    for prefix in (others + registers, others, 0):
        side = isqrt(max(count - prefix, 0))
        if side and side**2 == count - prefix:
            return {"image_size": side * int(patch.shape[-1])}
    return {}


def _check_family(config: Config, family: "Family", name: str, where: str) -> None:
    """Raise RequestError unless the class that `--arch` names is one of the tensors' family."""
    types = {config.get("model_type"), config.get("vision_config", {}).get("model_type")}
    if family.model_types and not types & {*family.model_types}:
        message = f"--arch names {name}, and the tensors of {where} are {family.name}."
        raise RequestError(message, OTHER_ARCH)


def _check_heads(default: Any, vision: Mapping[str, Any], name: str) -> None:
    """Raise RequestError if the heads are a default of the class, for models of another width."""
    default = getattr(default, "vision_config", default)
    width = vision.get("hidden_size")
    if "num_attention_heads" not in vision and width != default.hidden_size:
        message = f"transformers:{name} does not say how many heads a width of {width} has."
        raise RequestError(message, "give --heads N too.")


def _translate_hints(hints: CheckpointHints) -> dict[str, Any]:
    """Return the hints as fields of a vision configuration."""
    size = hints.spec_fields().get("image_size")
    fields = {
        "num_attention_heads": hints.heads,
        "hidden_act": None if hints.activation is None else ACTIVATIONS[hints.activation],
        "layer_norm_eps": hints.norm_eps,
        "image_size": None if size is None else list(size),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _find_name(config: Config) -> str:
    """Return the class that a config.json names, or the `model_type` of a base model."""
    names = config.get("architectures")
    if isinstance(names, list) and names:
        return str(names[0])
    return "" if "architecture" in config else str(config.get("model_type") or "")


def _find_class(transformers: Any, name: str) -> Any:
    """Return the class of a name, or the base model of a `model_type`.

    Raises:
        CannotJudgeError: transformers has no such class: its code came with the checkpoint.
    """
    kind = getattr(transformers, name, None)
    if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel):
        return kind
    configs = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if name in configs:
        return transformers.AutoModel._model_mapping[configs[name]]  # noqa: SLF001 no public way
    message = f"{TRANSFORMERS.origin} has no {name}, which its config.json names."
    raise CannotJudgeError(message, "give --check off: the checkpoint's own code is never run.")


def _build(transformers: Any, config: Config, tensors: Mapping[str, Tensor]) -> Judge:
    """Return the model of transformers with the tensors, as `from_pretrained` loads them."""
    name = _find_name(config)
    kind = _find_class(transformers, name)
    what = f"transformers cannot build the {kind.__name__} that the config.json of this "
    with report_failure(f"{what}checkpoint describes"), _hide_progress(transformers):
        module, report = kind.from_pretrained(
            None,
            config=kind.config_class.from_dict(dict(config)),
            state_dict=dict(tensors),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below
            attn_implementation="eager",
            dtype=torch.float32,
        )
    check_shapes(
        {key: (tuple(actual), tuple(own)) for key, actual, own in report["mismatched_keys"]},
        f"The {kind.__name__} of transformers",
    )
    fill_missing(module, report["missing_keys"])
    return Judge(
        module=module.eval(),
        origin=TRANSFORMERS.origin,
        name=kind.__name__,
        answer=make_answer(module),
        missing=tuple(sorted(report["missing_keys"])),
        unexpected=tuple(sorted(report["unexpected_keys"])),
    )


def make_answer(module: Any) -> Any:
    """Return the function from images to the answer of a model of transformers."""
    if hasattr(module, "get_image_features"):  # both towers: the image's alone
        return lambda images: module.get_image_features(pixel_values=images)
    inner = module.base_model if type(module).__name__.endswith(PRETRAINING) else module
    if hasattr(inner.config, "mask_ratio"):
        return lambda images: _answer_unmasked(inner, images)
    return lambda images: inner(pixel_values=images)


def _answer_unmasked(module: Any, images: Tensor) -> Any:
    """Return the answer of a masked autoencoder that sees every patch, in their order."""
    ratio, module.config.mask_ratio = module.config.mask_ratio, 0.0
    count = module.embeddings.patch_embeddings.num_patches
    try:
        return module(pixel_values=images, noise=torch.arange(count).expand(len(images), -1))
    finally:
        module.config.mask_ratio = ratio


@contextmanager
def _hide_progress(transformers: Any) -> Iterator[None]:
    """Let transformers draw no progress bar while it is open."""
    log = transformers.utils.logging
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            log.enable_progress_bar()


TRANSFORMERS = Library(
    name="transformers",
    package="transformers",
    example="transformers:ViTForImageClassification",
    names=_list_names,
    sketch=_sketch,
    describe=_describe,
    find_name=_find_name,
    build=_build,
)
