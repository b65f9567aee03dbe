"""Models on which a proof could not fail are refused, or said to be constant."""

import numpy as np
import pytest
import torch
from support import tiny_spec

import vit_export
from vit_export.artifact.reference import Reference
from vit_export.core.errors import ProofError
from vit_export.model.signature import image_signature
from vit_export.model.vit.state import random_vit
from vit_export.validation.sharpness import CONSTANT, check_reference, find_noise, is_constant

OWN_NOISE = r"This model's own rounding noise is [\d.e+]+ % of its answer"


def change(edit, **changes):
    """A small model with edited weights, as (spec, state dict)."""
    spec = tiny_spec(**changes)
    vit = random_vit(spec, 0)
    with torch.no_grad():
        edit(vit)
    return spec, vit.state_dict()


def move_positions(vit):
    vit.embedding.positions += 3e6  # LayerNorm takes the offset away, and leaves its rounding


def zero_all(vit):
    for tensor in vit.state_dict().values():
        tensor.zero_()


def zero_classifier_weight(vit):
    vit.head.classifier.weight.zero_()
    vit.head.classifier.bias += 0.3


def enlarge_head(vit):
    vit.head.classifier.weight *= 1e20


def overflow(vit):
    vit.head.classifier.weight.fill_(3e38)


@pytest.mark.parametrize("options", [{}, {"precision": "int8"}])
def test_a_model_whose_own_noise_hides_its_answer_is_refused(tmp_path, options):
    out = tmp_path / "f.onnx"
    with pytest.raises(ProofError, match=OWN_NOISE) as refusal:
        vit_export.onnx(change(move_positions), out, **options)
    assert refusal.value.exit_code == 4
    assert "extreme size" in refusal.value.fix
    assert "of its answer to " in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("edit", [zero_all, zero_classifier_weight])
@pytest.mark.parametrize("options", [{}, {"precision": "int8"}, {"head": "softmax"}])
def test_a_constant_model_is_proven_and_said_to_be_constant(tmp_path, edit, options):
    built = vit_export.onnx(change(edit), tmp_path / "f.onnx", **options)
    assert (built.verdict.status, built.verdict.caveats) == ("PROVEN", (CONSTANT,))
    assert CONSTANT in vit_export.validate(tmp_path / "f.onnx").caveats


def test_large_logits_are_proven_under_a_softmax(tmp_path):
    built = vit_export.onnx(change(enlarge_head), tmp_path / "f.onnx", head="softmax")
    assert (built.verdict.status, built.verdict.caveats) == ("PROVEN", ())


def test_a_model_that_overflows_is_no_wrong_rewrite(tmp_path):
    with pytest.raises(ProofError, match="own answer to normal:11 is not finite") as one:
        vit_export.onnx(change(overflow), tmp_path / "f.onnx")
    assert "rewrite" not in str(one.value)


def test_a_model_that_changes_during_the_export_is_no_wrong_rewrite(tmp_path, monkeypatch):
    from vit_export.api import lowering

    lower = lowering.lower

    def change_and_lower(model, **options):
        with torch.no_grad():
            model.vit.head.classifier.weight *= 2
        return lower(model, **options)

    monkeypatch.setattr(lowering, "lower", change_and_lower)
    with pytest.raises(ProofError, match="changed while it was exported") as one:
        vit_export.onnx(change(lambda _: None), tmp_path / "f.onnx")
    assert "rewrite" not in str(one.value)


def make_reference(answers, floor):
    answers = np.asarray(answers, np.float32)
    count = len(answers)
    return Reference(
        recipes=tuple(f"normal:{i}" for i in range(count)),
        digests=("0" * 64,) * count,
        answers=answers,
        floors=(floor,) * count,
    )


SIGNATURE = image_signature((3, 8, 8), "features", (5,))
RANDOM = np.random.RandomState(0).standard_normal((8, 5))
CASES = {  # answers, noise floor: constant, noisy
    "an ordinary model": (RANDOM, 1e-6, False, False),
    "a large offset": (RANDOM + 1000, 1e-4, False, False),
    "noise of a percent": (RANDOM, 1e-2, False, True),
    "an offset that swallows the rest": (RANDOM + 1e6, 0.06, False, True),
    "equal answers": (np.ones((8, 5)), 0.0, True, False),
    "answers that differ by rounding": (1 + RANDOM * 1e-7, 1e-7, True, False),
    "noise as large as the answers": (RANDOM * 1e-3, 10.0, False, True),
    "zeros": (np.zeros((8, 5)), 0.0, True, False),
}


@pytest.mark.parametrize(
    ("answers", "floor", "constant", "noisy"), CASES.values(), ids=CASES.keys()
)
def test_noise_and_constancy(answers, floor, constant, noisy):
    reference = make_reference(answers, floor)
    assert is_constant(reference) == constant
    assert bool(find_noise(reference)) == noisy
    if noisy:
        with pytest.raises(ProofError, match=OWN_NOISE):
            check_reference(reference, SIGNATURE)
    else:
        check_reference(reference, SIGNATURE)
