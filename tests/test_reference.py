"""The noise floor of a reference is its distance to fp64, and computing it changes no model."""

import numpy as np
import pytest
import torch
from support import VARIANTS, tiny_spec
from torch import nn

from vit_export.model.vit.state import random_vit
from vit_export.validation.reference import compute_reference
from vit_export.validation.sample_set import SampleSet


def make_noise(shape, count=4):
    inputs = np.random.RandomState(0).standard_normal((count, *shape)).astype(np.float32)
    return SampleSet(recipes=("normal",) * count, inputs=inputs, file_inputs=inputs)


@torch.no_grad()
def check_reference(reference, module, samples):
    """Answers are those of each image alone; floors are distances to the module in fp64."""
    images = torch.from_numpy(samples.inputs)
    alone = torch.cat([module(image[None]) for image in images])
    assert torch.equal(torch.from_numpy(reference.answers), alone)
    exact = module.double()(images.double()).numpy()
    expected = np.abs(reference.answers - exact).reshape(len(exact), -1).max(axis=1)
    np.testing.assert_allclose(reference.floors, expected, rtol=1e-6)
    assert 0 < max(reference.floors) < 1e-4


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_reference_of_every_variant(changes):
    spec = tiny_spec(**changes)
    vit, samples = random_vit(spec, 0), make_noise(spec.signature.image_shape)
    reference = compute_reference(vit, samples)
    assert {p.dtype for p in vit.parameters()} == {torch.float32}
    assert reference.answers.shape == (4, *spec.answer_shape)
    check_reference(reference, vit, samples)


def test_the_reference_of_any_other_module():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 6 * 6, 5)).eval()
    samples = make_noise((3, 8, 8))
    check_reference(compute_reference(module, samples), module, samples)
