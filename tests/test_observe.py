"""What is kept of many images: rows of every place, from all over the folder."""

import numpy as np
import pytest
import torch
from support import tiny_spec
from test_quantize import WIDE, images

from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.progress import silent
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.layers import products
from vit_export.quantization.observer import LEAST_ROWS, ROWS, Observed, observe
from vit_export.quantization.prepare import prepare


def seen(count, tokens):
    """Of `count` images, whose rows say which image and which token they are."""
    found = Observed(images=count)
    for number in range(count):
        found.add(torch.stack([torch.full((tokens,), float(number)), torch.arange(tokens)], dim=1))
    return found


@pytest.mark.parametrize("tokens", [1, 25, 197])
@pytest.mark.parametrize("count", [1, 8, 60, 129, 300, 520, 1500])
def test_rows_are_of_all_images_and_all_tokens(count, tokens):
    found = seen(count, tokens)
    numbers, places = found.rows.T
    assert len(found.rows) <= ROWS
    assert len(found.rows) >= 0.7 * min(count * tokens, ROWS)
    assert len(places.unique()) >= 0.9 * min(tokens, len(found.rows) / 4)
    spread = np.diff([0, *numbers.unique().tolist(), count])
    assert spread.max() <= 2 * max(count * LEAST_ROWS / ROWS, 1)  # no part is left out


@pytest.mark.parametrize("count", [1, 60, 520])
def test_rows_lie_image_by_image_and_are_different_ones(count):
    for image in seen(count, 197).rows_by_image[:-1]:
        assert len(image[:, 0].unique()) == 1
        assert len(image[:, 1].unique()) == len(image)


def test_what_all_images_reach_is_known_exactly():
    found = seen(1500, 25)
    assert found.high.tolist() == [1499, 24]
    assert found.mean.tolist() == [749.5, 12]
    assert found.count == 1500 * 25


def test_values_are_known_as_they_are_after_equalizing():
    """Means move out of them, and attention's second product sees what is left."""
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    with torch.no_grad():
        for block in vit.blocks:
            block.attention.qkv.bias[-spec.width :] += 3
    lowered = lower(vit)
    asked = QuantizationRequest("int8-static", include=("attention",))
    found, _ = observe(lowered, images(spec), asked.include)
    plan = prepare(lowered, asked, "portable", dict(found), silent)
    again, _ = observe(lowered, images(spec), asked.include)
    for name in products(lowered):
        values = again[f"{name}.values"]
        scale, _ = plan.products[name].ranges[2]
        largest = max(float(-values.low.min()), float(values.high.max()))
        assert scale * 127 == pytest.approx(largest, rel=1e-4)
