"""`locate` names the layer with a wrong weight, in either format."""

import copy
import json

import numpy as np
import pytest
import torch
from support import VARIANTS, expect_error, run, run_json, tiny_spec

import vit_export
import vit_export.model.vit.state
from vit_export.backends import BACKENDS
from vit_export.backends.job import Job
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.from_manifest import rebuild_identical_vit
from vit_export.core.errors import RequestError
from vit_export.core.progress import silent
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.taps import list_taps
from vit_export.quantization.plan import QuantizationPlan
from vit_export.validation.localize import MismatchError

MODULE_OF_LAYER = {
    "embedding.projection": "embedding",
    "blocks.0.attention_norm": "blocks.0.attention_norm",
    "blocks.1.mlp.expand": "blocks.1.mlp",
    "blocks.2.attention.qkv": "blocks.2.attention",
    "blocks.2.mlp.contract": "blocks.2.mlp",
    "blocks.3.attention.projection": "blocks.3.attention",
    "head.classifier": "head",
}
"""The eager module that has to be named, by layer of the lowered model."""


def tamper(good, layer, folder):
    """Build the artifact `good` again with another number in one layer."""
    manifest = read_manifest(open_artifact(good), good)
    lowered = copy.deepcopy(lower(rebuild_identical_vit(manifest, None)))
    with torch.no_grad():
        lowered.get_submodule(layer).weight.flatten()[7] += 0.5
    path = folder / good.name
    build(lowered, manifest, path)
    return path


def build(lowered, manifest, path):
    none = np.zeros((0, 1, 28, 28), np.float32)  # only fp16 needs samples
    options = manifest.settings.values
    job = Job(
        lowered=lowered, manifest=manifest, plan=QuantizationPlan(), samples=none, options=options
    )
    BACKENDS[manifest.target].build(job, path, silent)


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
@pytest.mark.parametrize(("layer", "module"), MODULE_OF_LAYER.items(), ids=MODULE_OF_LAYER)
def test_the_tampered_layer_is_named(fashion, tmp_path, layer, module, target):
    path = tamper(fashion.path[target], layer, tmp_path)
    with pytest.raises(MismatchError, match=f"leaves the model at {module}: off by") as error:
        vit_export.locate(path)
    modules = error.value.location.modules
    before = modules[: [one.name for one in modules].index(module)]
    assert all(one.worst.passed for one in before)


def test_the_command_prints_and_plots_every_module(fashion, tmp_path):
    """The table opens the block with the wrong layer and ends at the file's answer."""
    path, plot = tamper(fashion.path["onnx"], "blocks.1.mlp.expand", tmp_path), tmp_path / "p.png"
    done = run("locate", path, "--plot", plot, "-q", exit_code=4)
    rows = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    inside = ["attention_norm", "attention", "mlp_norm", "mlp"]
    assert rows[1:7] == ["blocks.0", *(f"blocks.1.{part}" for part in inside), "blocks.1"]
    assert rows[-1] == "head"
    assert "leaves the model at blocks.1.mlp" in done.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = json.loads(run("locate", path, "--json", "-q", exit_code=4).stdout)
    assert printed["exit_code"] == 4
    assert printed["location"]["first"] == "blocks.1.mlp"


def test_a_right_file_has_no_mismatch(fashion_file):
    printed = run_json("locate", fashion_file, "-q")
    manifest = read_manifest(open_artifact(fashion_file), fashion_file)
    assert printed["first"] is None
    assert [one["name"] for one in printed["modules"]] == list_taps(manifest.spec)
    assert "answer as those of eager PyTorch" in run("locate", fashion_file, "-q").stdout


def write_toml(spec, path):
    """Write `spec` as a TOML file: its random weights can be made again from the seed."""
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if value is not None]
    path.write_text("\n".join(["[vit]", *lines]))
    return path


@pytest.mark.slow  # twelve exports
@pytest.mark.parametrize("target", ["onnx", "torchscript"])
@pytest.mark.parametrize(
    "variant",
    [
        "projection",
        "swiglu, layer scale",
        "distilled",
        "registers",
        "attention pooling, classes",
        "tokens",
    ],
)
def test_every_module_of_every_kind_is_compared_with_eager(tmp_path, variant, target):
    spec = tiny_spec(**VARIANTS[variant])
    out = tmp_path / "f.file"
    getattr(vit_export, target)(write_toml(spec, tmp_path / "m.toml"), out)
    localization = vit_export.locate(out)
    assert [one.name for one in localization.modules] == list_taps(spec)


def test_a_graph_for_onnxruntime_has_the_same_modules(tmp_path):
    vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", flavour="onnxruntime")
    names = [one.name for one in vit_export.locate(tmp_path / "f.onnx").modules]
    assert {"blocks.0.attention", "blocks.3"} <= set(names)


@pytest.mark.slow
def test_weights_of_8_bits_need_no_exact_sums(tmp_path, monkeypatch):
    """On CPUs where sums of 8-bit products saturate, the exact option would refuse the file."""
    monkeypatch.setattr("vit_export.graph.evaluate.sums_saturate", lambda: True)
    vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", precision="weights-int8")
    assert vit_export.locate(tmp_path / "f.onnx").first is None


def test_only_the_weights_of_the_file_will_do(tmp_path):
    """The user's checkpoint, resampled to another size; another checkpoint; and none."""
    spec = tiny_spec(image_size=(16, 16))
    for seed in (0, 1):
        state = vit_export.model.vit.state.random_vit(spec, seed).state_dict()
        torch.save(state, tmp_path / f"{seed}.pth")
    out = tmp_path / "f.onnx"
    model = write_toml(spec, tmp_path / "m.toml")
    vit_export.onnx(model, out, weights=tmp_path / "0.pth", image_size="24x16")
    assert vit_export.locate(out, weights=tmp_path / "0.pth").first is None
    with pytest.raises(RequestError, match="does not hold the weights"):
        vit_export.locate(out, weights=tmp_path / "1.pth")
    message = expect_error("locate", out, exit_code=2)
    assert "give --weights: it was made of 0.pth" in message


def test_a_file_that_takes_no_single_image_is_refused(tmp_path, tiny_toml):
    vit_export.onnx(tiny_toml, tmp_path / "f.onnx", batch="2")
    with pytest.raises(RequestError, match="takes no single image"):
        vit_export.locate(tmp_path / "f.onnx")


def test_a_graph_with_other_layers_than_its_manifest_is_refused(fashion, tmp_path):
    """Layers of a TorchScript archive have no names: with one missing the others shift."""
    good = fashion.path["torchscript"]
    manifest = read_manifest(open_artifact(good), good)
    lowered = lower(rebuild_identical_vit(manifest, None))
    lowered.head.pooled_norm = torch.nn.Identity()
    build(lowered, manifest, tmp_path / "f.pt")
    with pytest.raises(RequestError, match="has 25 layers, its model 26"):
        vit_export.locate(tmp_path / "f.pt")
