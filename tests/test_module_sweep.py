"""Modules of three libraries: the file answers like their code, or the cause is named."""

from pathlib import Path

import module_zoo
import numpy as np
import onnxruntime
import pytest
import torch

import vit_export
from vit_export.core.errors import VitExportError

CORE = ("vit_pytorch:vit]", "deepvit", "timm:swin_tiny", "eva02", "timm:levit", "SamVision")
CORE += ("na_vit]", "timm:maxvit")
BATCHES = (1, 2, 3, 5)


def export(name: str, out: Path):
    return vit_export.onnx(
        None,
        out,
        module=f"{module_zoo.__file__}:build",
        arguments={"name": name},
        input_shape="x".join(map(str, module_zoo.ZOO[name].shape)),
    )


@torch.no_grad()
def assert_answers_like_its_code(path: Path, name: str) -> None:
    """Every batch at once, against each image alone."""
    module, shape = module_zoo.build(name), module_zoo.ZOO[name].shape
    images = torch.randn(max(BATCHES), *shape, generator=torch.Generator().manual_seed(1))
    expected = torch.cat([module(image[None]) for image in images]).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (feed,) = session.get_inputs()
    for batch in BATCHES:
        (answer,) = session.run(None, {feed.name: images[:batch].numpy()})
        spread = float(np.abs(expected).max())
        np.testing.assert_allclose(answer, expected[:batch], rtol=0, atol=1e-4 * spread)


@pytest.mark.slow
@pytest.mark.sweep("modules", core=CORE)
@pytest.mark.parametrize("name", module_zoo.ZOO)
@pytest.mark.filterwarnings("default")  # libraries warn of their own code
def test_a_module_is_proven_or_its_cause_is_named(tmp_path, name):
    out = tmp_path / "net.onnx"
    if cause := module_zoo.ZOO[name].refusal:
        with pytest.raises(VitExportError, match=cause):
            export(name, out)
        assert not out.exists()
        return
    assert export(name, out).verdict.status == "PROVEN"
    assert_answers_like_its_code(out, name)
