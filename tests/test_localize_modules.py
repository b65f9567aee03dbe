"""`locate` names the module of a user's own code where a file differs, in either format."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import own_modules
import pytest
import seed_vit
import torch
from support import expect_error, mark_slow_except, run, run_json
from transformers import SwinConfig, SwinForImageClassification

import vit_export
from vit_export.backends import BACKENDS
from vit_export.backends.job import Job
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.rebuild import ModelSource, rebuild_identical
from vit_export.core.errors import RequestError
from vit_export.core.progress import silent
from vit_export.model.lower import lower
from vit_export.quantization.plan import QuantizationPlan
from vit_export.validation.localize import MismatchError
from vit_export.validation.match_values import match_values

NET = f"{own_modules.__file__}:Net"
VIT = f"{seed_vit.__file__}:ViT"
SIZES = {"depth": 2, "emb_size": 24, "num_heads": 3, "img_size": 32, "patch_size": 8}
ARGUMENTS = {**SIZES, "n_classes": 5}
MODULE_OF_LAYER = {
    "1.0.0.fn.1.projection": "1.0.0.fn.1",
    "1.1.1.fn.1.0": "1.1.1.fn.1.0",
    "2.2": "2",
}
"""The module that has to be named, by the layer with a wrong weight."""
TARGETS = ("onnx", "torchscript")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The seed document's module in each format."""
    folder = tmp_path_factory.mktemp("files")
    for target in TARGETS:
        build = getattr(vit_export, target)
        build(None, folder / target, module=VIT, arguments=ARGUMENTS, image_size="32")
    return {target: folder / target for target in TARGETS}


def tamper(good: Path, layer: str, folder: Path) -> Path:
    """Build the file `good` again with another number in one layer of its module."""
    manifest = read_manifest(open_artifact(good), good)
    request = ModuleRequest(text=VIT, arguments=ARGUMENTS)
    model = rebuild_identical(manifest, ModelSource(module=request))
    wrong = copy.deepcopy(model.module)
    with torch.no_grad():
        wrong.get_submodule(layer).weight.flatten()[7] += 0.5
    job = Job(
        lowered=lower(replace(model, module=wrong)),
        manifest=manifest,
        plan=QuantizationPlan(),
        samples=np.zeros((0, 3, 32, 32), np.float32),
        options=BACKENDS[manifest.target].parse_options(manifest.settings.values),
    )
    path = folder / good.name
    BACKENDS[manifest.target].build(job, path, silent)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("layer", "module"), MODULE_OF_LAYER.items(), ids=MODULE_OF_LAYER)
def test_the_module_with_the_wrong_layer_is_named(files, tmp_path, layer, module, target):
    path = tamper(files[target], layer, tmp_path)
    with pytest.raises(MismatchError, match=f"leaves the model at {module}: off by") as error:
        vit_export.locate(path, module=VIT, arguments=ARGUMENTS)
    modules = error.value.location.modules
    before = modules[: [one.name for one in modules].index(module)]
    assert all(one.worst.passed for one in before)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_right_file_has_no_mismatch(files, target):
    location = vit_export.locate(files[target], module=VIT, arguments=ARGUMENTS)
    assert location.first is None
    names = [one.name for one in location.modules]
    assert {"0", "1.0.0", "1.0", "1.1.1.fn.1", "1", "2"} <= set(names)
    assert names[-1] == "2"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"flavour": "onnxruntime"},
        *({"precision": name} for name in ("fp16", "int8", "weights-int8")),
    ],
)
def test_a_file_of_another_form_has_the_same_blocks(tmp_path, options):
    out = tmp_path / "n.onnx"
    own = {"module": VIT, "arguments": ARGUMENTS}
    vit_export.onnx(None, out, image_size="32", **own, **options)
    location = vit_export.locate(out, **own)
    assert location.first is None
    assert {"0", "1.0.0", "1.0", "1", "2"} <= {one.name for one in location.modules}


@pytest.mark.slow
def test_windows_of_a_library_have_the_names_of_the_library(tmp_path):
    """Swin: windows, a merge of patches, and an answer that is a part of a dataclass."""
    sizes = {"embed_dim": 12, "depths": [2, 1], "num_heads": [1, 2], "window_size": 4}
    config = SwinConfig(image_size=32, patch_size=4, num_labels=5, **sizes)
    SwinForImageClassification(config).save_pretrained(tmp_path / "swin")
    module = f"transformers:{tmp_path / 'swin'}"
    run("onnx", "--module", module, "--out", tmp_path / "n.onnx", "-q")
    modules = run_json("locate", tmp_path / "n.onnx", "--module", module)["modules"]
    names = [one["name"] for one in modules]
    assert names[-1] == "classifier"
    assert "swin.encoder.layers.0.blocks.1" in names


@pytest.mark.parametrize("name", mark_slow_except(["Net", "Shared"], "Net"))
def test_a_file_and_its_weights(tmp_path, name):
    """A module that is called twice has two outputs."""
    module = NET.replace("Net", name)
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(getattr(own_modules, name)().state_dict(), tmp_path / f"{seed}.pth")
    own = {"module": module, "weights": tmp_path / "0.pth"}
    out = tmp_path / "n.onnx"
    vit_export.onnx(None, out, image_size="32", **own)
    names = [one.name for one in vit_export.locate(out, **own).modules]
    twice = ["norm", "norm@1"] if name == "Shared" else ["norm"]
    assert names == ["patches", *twice, "head"]
    with pytest.raises(RequestError, match="does not hold the weights"):
        vit_export.locate(out, module=module, weights=tmp_path / "1.pth")
    assert "give that code too" in expect_error("locate", out, exit_code=2)


@pytest.mark.slow
def test_the_prefix_of_the_export_names_the_state_dict(tmp_path):
    weights, out = tmp_path / "w.pth", tmp_path / "n.onnx"
    student, teacher = own_modules.Net().state_dict(), own_modules.Net().state_dict()
    torch.save({"student": student, "teacher": teacher}, weights)
    own = {"module": NET, "weights": weights}
    vit_export.onnx(None, out, image_size="32", prefix="teacher.", **own)
    assert vit_export.locate(out, **own).first is None
    assert vit_export.validate(out, **own).accepted
    torch.save({"student": teacher, "teacher": student}, weights)
    with pytest.raises(RequestError, match="does not hold the weights"):
        vit_export.locate(out, **own)


def test_a_known_family_needs_no_code(fashion):
    text = expect_error("locate", fashion.path["onnx"], "--module", NET, exit_code=2)
    assert "is of a known family" in text


class Graph:
    """The values of a file, in the order of its nodes."""

    def __init__(self, values):
        self.values, self.names = values, list(values)

    def run(self, _sample, names):
        return {name: self.values[name] for name in names}


def test_the_nearest_value_is_the_output_of_a_module():
    """A norm before a small residual branch and the norm behind it have nearly the same numbers."""
    output = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    graph = Graph({"before": output + 5e-4, "after": output, "first row": output[:1]})
    assert match_values({"norm": output}, graph, output)["norm"].value == "after"
