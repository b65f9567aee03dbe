"""A model in memory: a module of a known family, or a spec with its state dict.

Names and attributes say what a module should compute, its own forward says what it does: the two
are held against each other, so that the proof is about the user's module and not our reading of it.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vit_export.core.errors import RequestError
from vit_export.core.numerics import Array
from vit_export.model.model import Source
from vit_export.model.vit.spec import VitSpec
from vit_export.validation.compare import compare
from vit_export.validation.samples import make_samples, recipes
from vit_export.validation.tolerances import TOLERANCES

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from torch import Tensor, nn

    from vit_export.model.vit.vit import Vit

FP32 = TOLERANCES["fp32"]
ROOM = 8
"""Over the proof's own tolerance: other kernels sum in another order, another activation is off by
thousands of it."""
ANSWERS = ("logits", "image_embeds", "pooler_output")
"""Where modules that answer with several tensors keep the one that is ours."""


def from_live(model: "nn.Module | tuple[VitSpec, Mapping[str, Tensor]]") -> Source:
    """The eager model of a module in memory, or of a spec with its state dict.

    Raises:
        RequestError: neither, a module of no known family, or one that computes something else.
    """
    from torch import nn

    from vit_export.checkpoints.from_state_dict import load_vit

    if isinstance(model, nn.Module):
        return _from_module(model)
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], VitSpec):  # noqa: PLR2004
        vit = load_vit(*model, "the state dict")
        return _source("VitSpec", vit, "a state dict")
    raise RequestError(
        f"{type(model).__name__} is not a model.",
        "give a preset's name, a live module, or (VitSpec, state dict).",
    )


def _source(name: str, vit: "Vit", origin: str, **more: Any) -> Source:
    return Source(
        name=name,
        vit=vit,
        weights_from=origin,
        random=False,
        overrides={},
        preprocessing=None,
        labels=(),
        **more,
    )


def _from_module(module: "nn.Module") -> Source:
    from vit_export.checkpoints.families import family_of
    from vit_export.checkpoints.families.naming import originals
    from vit_export.checkpoints.infer_spec import infer_spec
    from vit_export.model.vit.state import fill

    name, state = type(module).__name__, module.state_dict()
    family = family_of(state, name)
    renamed = family.rename(state)
    facts, original = family.conventions | family.module_facts(module), originals(family, renamed)
    spec = facts["spec"] if "spec" in facts else infer_spec(renamed.tensors, facts, name, original)
    vit = fill(spec, renamed.tensors, f"{name} ({family.name})", original)
    _check_answers(module, vit, name)
    return _source(name, vit, "a live module", resampling=family.resampling, unused=renamed.unused)


def _check_answers(module: "nn.Module", vit: "Vit", name: str) -> None:
    """Nothing, when `module` itself answers as `vit` does, within rounding."""
    from vit_export.validation.reference import reference_of

    names = recipes(None)[:2]
    samples = make_samples(names, vit.spec, None)
    expected = reference_of(vit, names, samples)
    for found in _answers(module, samples, vit.spec.answer_shape):
        judged = zip(expected.answers, found, expected.floors, strict=True)
        if all(
            compare(ours, theirs, ROOM * floor, FP32, classifies=False, sample=name).passed
            for ours, theirs, floor in judged
        ):
            return
    raise RequestError(
        f"{name} computes something else than its tensors and attributes say.",
        "is its forward, an activation or a pooling changed? Then describe it by a VitSpec.",
    )


def _answers(module: "nn.Module", samples: Array, shape: tuple[int, ...]) -> Iterator[Array]:
    """What could be the module's answers, (M, *shape) each; a copy answers, the module stays so."""
    import copy

    import torch

    twin = copy.deepcopy(module).float().cpu().eval()
    with torch.inference_mode():
        answer = twin(torch.from_numpy(samples))
    tokens = getattr(answer, "last_hidden_state", None)
    candidates = [answer, *(getattr(answer, name, None) for name in ANSWERS)]
    candidates += [tokens[:, 0]] if tokens is not None else []
    for found in candidates:
        if isinstance(found, torch.Tensor) and found.shape == (len(samples), *shape):
            yield found.numpy()
