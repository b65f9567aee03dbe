"""Modules of other inputs than images: any rank, as tensors without preprocessing."""

from pathlib import Path

import numpy as np
import onnxruntime
import own_modules
import pytest
import torch
from support import expect_error, mark_slow_except, run, run_json

import vit_export
from vit_export.core.errors import RequestError

CODE = Path(own_modules.__file__)
PHOTO = Path(vit_export.__file__).parent / "data/photos/cat.png"
SHAPES = {"Video": (3, 4, 16, 16), "Sequence": (12, 6), "Vector": (7,)}


def export(target: str, name: str, out: Path, *options: object) -> torch.nn.Module:
    """Export a module with weights of a seed, and return it."""
    torch.manual_seed(1)
    module = getattr(own_modules, name)().eval()
    torch.save(module.state_dict(), out.with_suffix(".pth"))
    own = ("--module", f"{CODE}:{name}", "--weights", out.with_suffix(".pth"))
    shape = "x".join(map(str, SHAPES[name]))
    run(target, *own, "--input", shape, "--out", out, "-q", *options)
    return module


def draw(name: str, count: int) -> torch.Tensor:
    return torch.randn(count, *SHAPES[name], generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("name", mark_slow_except(SHAPES, "Vector"))
def test_an_onnx_file_takes_any_rank_and_any_batch(tmp_path, name):
    module = export("onnx", name, tmp_path / "n.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    assert [one.name for one in session.get_inputs()] == ["input"]
    for count in (1, 3):
        samples = draw(name, count)
        with torch.no_grad():
            expected = module(samples).numpy()
        (answer,) = session.run(None, {"input": samples.numpy()})
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_a_torchscript_file_takes_any_rank(tmp_path, name):
    module = export("torchscript", name, tmp_path / "n.pt")
    samples = draw(name, 3)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.jit.load(tmp_path / "n.pt")(samples), module(samples), rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
def test_fewer_bits_and_one_batch_size(tmp_path):
    export("onnx", "Video", tmp_path / "n.onnx", "--precision", "fp16", "--batch", 1)
    shape = onnxruntime.InferenceSession(tmp_path / "n.onnx").get_inputs()[0].shape
    assert shape == [1, 3, 4, 16, 16]


@pytest.mark.slow
def test_other_commands_take_the_file(tmp_path):
    path = tmp_path / "n.onnx"
    export("onnx", "Video", path)
    own = ("--module", f"{CODE}:Video", "--weights", path.with_suffix(".pth"))
    run("validate", path, "-q")
    run("validate", path, "-q", *own)
    names = [one["name"] for one in run_json("locate", path, "-q", *own)["modules"]]
    assert (names[0], names[-1]) == ("patches", "head")
    assert run_json("inspect", path)["metadata"]["input"] == "float32 batchx3x4x16x16"
    rows = run_json("bench", path, "--rounds", 5, "-q", "--against", "eager", *own)["rows"]
    assert [row["name"] for row in rows] == ["n.onnx", "eager"]


@pytest.mark.slow
def test_what_is_for_images_is_refused(tmp_path):
    path = tmp_path / "n.onnx"
    export("onnx", "Vector", path, "--problem-type", "single_label")
    text = expect_error("predict", path, PHOTO, exit_code=2)
    assert "n.onnx takes no images" in text or "takes no images: its input is 7" in text
    assert "takes no images" in expect_error("cpp", path, "--out", tmp_path / "app", exit_code=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preprocess", "graph"), "The model takes no images: its input is 7."),
        (("--mean", 0.5, "--std", 0.5, "--resize", 8), "own_modules.py:Vector takes no images"),
        (("--images", PHOTO.parent), "The model has no preprocessing for images."),
    ],
)
def test_options_for_images_are_refused(tmp_path, options, message):
    words = ("--module", f"{CODE}:Vector", "--input", "7", "--out", tmp_path / "n.onnx")
    assert message in expect_error("onnx", *words, *options, exit_code=2)


@pytest.mark.parametrize("shape", ["0", "3x", "x3", "3x-1", "1x1x1x1x1x1", "2.5", "batchx3"])
def test_a_text_that_is_no_shape_is_refused(tmp_path, shape):
    words = ("--module", f"{CODE}:Vector", "--input", shape, "--out", tmp_path / "n.onnx")
    assert "which is no shape of one image" in expect_error("onnx", *words, exit_code=2)


def test_a_sample_of_a_gigabyte_is_refused(tmp_path):
    words = ("--module", f"{CODE}:Vector", "--out", tmp_path / "n.onnx")
    text = expect_error("onnx", *words, "--input", "1000x1000x1000", exit_code=2)
    assert "has 1,000,000,000 numbers in one sample" in text


def test_integers_are_refused(tmp_path):
    words = ("--module", f"{CODE}:Embeds", "--input", "12", "--out", tmp_path / "n.onnx")
    text = expect_error("onnx", *words, exit_code=2)
    assert "own_modules.py:Embeds takes integers, and a file takes numbers of fp32" in text


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.zeros(1, 12, dtype=torch.int64), "example= is of int64"),
        (torch.zeros(3), "which is no batch of samples"),
        (torch.zeros(0, 7), "which is no batch of samples"),
    ],
)
def test_an_example_that_is_no_batch_of_numbers_is_refused(tmp_path, example, message):
    with pytest.raises(RequestError, match=message):
        vit_export.onnx(own_modules.Vector(), tmp_path / "n.onnx", example=example)


@pytest.mark.slow
def test_an_example_of_any_rank_is_enough(tmp_path):
    vit_export.onnx(own_modules.Sequence(), tmp_path / "n.onnx", example=torch.zeros(1, 12, 6))
    shape = onnxruntime.InferenceSession(tmp_path / "n.onnx").get_inputs()[0].shape
    assert shape == ["batch", 12, 6]
