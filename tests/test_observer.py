"""Activation statistics: exact extremes and means, and rows sampled from all images and tokens."""

import numpy as np
import pytest
import torch
from quantized_models import WIDE, make_images
from support import tiny_spec

from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.errors import RequestError
from vit_export.core.progress import silent
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization.layers import find_attention_matmuls
from vit_export.quantization.observer import (
    MAX_ROWS,
    MIN_ROWS_PER_IMAGE,
    Observer,
    collect_stats,
)
from vit_export.quantization.plan import make_plan


def observe_numbered_rows(images, tokens):
    """Statistics of images whose rows are (number of the image, number of the token)."""
    observer = Observer(images=images)
    for number in range(images):
        column = torch.full((tokens,), float(number))
        observer.add(torch.stack([column, torch.arange(tokens)], dim=1))
    return observer.read_stats()


@pytest.mark.parametrize("tokens", [1, 25, 197])
@pytest.mark.parametrize("images", [1, 8, 60, 129, 300, 520, 1500])
def test_sampled_rows_are_from_all_images_and_all_tokens(images, tokens):
    stats = observe_numbered_rows(images, tokens)
    numbers, positions = stats.rows.T
    assert len(stats.rows) <= MAX_ROWS
    assert len(stats.rows) >= 0.7 * min(images * tokens, MAX_ROWS)
    assert len(positions.unique()) >= 0.9 * min(tokens, len(stats.rows) / 4)
    gaps = np.diff([0, *numbers.unique().tolist(), images])
    assert gaps.max() <= 2 * max(images * MIN_ROWS_PER_IMAGE / MAX_ROWS, 1)  # no part is left out


@pytest.mark.parametrize("images", [1, 60, 520])
def test_sampled_rows_are_grouped_by_image_and_distinct(images):
    for image in observe_numbered_rows(images, 197).rows_by_image[:-1]:
        assert len(image[:, 0].unique()) == 1
        assert len(image[:, 1].unique()) == len(image)


def test_extremes_and_means_are_exact():
    stats = observe_numbered_rows(1500, 25)
    assert stats.high.tolist() == [1499, 24]
    assert stats.mean.tolist() == [749.5, 12]
    assert stats.count == 1500 * 25


def test_memory_does_not_grow_with_the_number_of_images():
    spec = tiny_spec()
    stats, _ = collect_stats(lower(random_vit(spec, 0)), make_images(spec, 700))
    assert all(len(layer.rows) <= MAX_ROWS for layer in stats.values())


def test_observing_reports_its_progress():
    shares = []
    images = make_images(tiny_spec(), 4)
    collect_stats(lower(random_vit(tiny_spec(), 0)), images, report_share=shares.append)
    assert shares == [0, 0.25, 0.5, 0.75]


def test_an_activation_that_is_not_finite_is_an_error_that_names_image_and_layer():
    spec = tiny_spec()
    vit = random_vit(spec, 0)
    with torch.no_grad():
        vit.blocks[1].mlp.expand.bias[0] = torch.nan
    with pytest.raises(RequestError, match=r"0\.png .*blocks\.1\.mlp\.contract"):
        collect_stats(lower(vit), make_images(spec))


def test_the_range_of_values_is_that_after_smoothing():
    """Smoothing shifts their means away, so that attention's second matmul has a smaller range."""
    spec = tiny_spec(**WIDE)
    vit = random_vit(spec, 0)
    with torch.no_grad():
        for block in vit.blocks:
            block.attention.qkv.bias[-spec.width :] += 3
    lowered = lower(vit)
    request = QuantizationRequest("int8-static", include=("attention",))
    stats, _ = collect_stats(lowered, make_images(spec), request.include)
    plan = make_plan(lowered, request, "portable", stats, silent)
    again, _ = collect_stats(lowered, make_images(spec), request.include)
    for name in find_attention_matmuls(lowered):
        values = again[f"{name}.values"]
        largest = max(float(-values.low.min()), float(values.high.max()))
        params = plan.attention_matmuls[name].values
        assert params.scale * 127 == pytest.approx(largest, rel=1e-4)
