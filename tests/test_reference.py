"""The reference's noise floor is what fp64 says it is, and promoting leaves the model alone."""

import numpy as np
import pytest
import torch
from support import VARIANTS, tiny_spec

from vit_export.model.vit.state import random_vit
from vit_export.validation.reference import reference_of


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_floors(changes):
    spec = tiny_spec(**changes)
    vit = random_vit(spec, 0)
    samples = np.random.RandomState(0).standard_normal((4, spec.channels, 16, 24))
    samples = samples.astype(np.float32)
    found = reference_of(vit, ["normal"] * 4, samples)
    assert {p.dtype for p in vit.parameters()} == {torch.float32}
    assert found.answers.shape == (4, *spec.answer_shape)
    images = torch.from_numpy(samples)
    alone = torch.cat([vit(image[None]) for image in images])
    assert torch.equal(torch.from_numpy(found.answers), alone)
    exact = vit.double()(images.double()).numpy()
    expected = np.abs(found.answers - exact).reshape(4, -1).max(axis=1)
    np.testing.assert_allclose(found.floors, expected, rtol=1e-6)
    assert 0 < max(found.floors) < 1e-4
