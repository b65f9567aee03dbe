"""Where a file stops being the model: the tampered layer is named, in either format."""

import copy
import json

import numpy as np
import pytest
import torch
from support import VARIANTS, refused, run, run_json, tiny_spec

import vit_export
import vit_export.model.vit.state
from vit_export.backends import BACKENDS
from vit_export.backends.base import Job
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.from_manifest import rebuild_identical_vit
from vit_export.core.errors import RequestError
from vit_export.core.progress import silent
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.taps import list_taps
from vit_export.quantization.plan import Plan
from vit_export.validation.localize import MismatchError

TAMPERED = {
    "embedding.projection": "embedding",
    "blocks.0.attention_norm": "blocks.0.attention_norm",
    "blocks.1.mlp.expand": "blocks.1.mlp",
    "blocks.2.attention.qkv": "blocks.2.attention",
    "blocks.2.mlp.contract": "blocks.2.mlp",
    "blocks.3.attention.projection": "blocks.3.attention",
    "head.classifier": "head",
}
"""By layer of the lowered model: the module of the eager one that has to be named."""


def tampered(good, layer, folder):
    """The artifact `good`, built again with one number of one layer changed."""
    manifest = read_manifest(open_artifact(good), good)
    lowered = copy.deepcopy(lower(rebuild_identical_vit(manifest, None)))
    with torch.no_grad():
        lowered.get_submodule(layer).weight.flatten()[7] += 0.5
    path = folder / good.name
    build(lowered, manifest, path)
    return path


def build(lowered, manifest, path):
    none = np.zeros((0, 1, 28, 28), np.float32)  # fp16 alone looks at samples
    settings = manifest.settings.values
    job = Job(lowered=lowered, manifest=manifest, plan=Plan(), samples=none, settings=settings)
    BACKENDS[manifest.target].build(job, path, silent)


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
@pytest.mark.parametrize(("layer", "module"), TAMPERED.items(), ids=TAMPERED)
def test_the_tampered_layer_is_named(fashion, tmp_path, layer, module, target):
    path = tampered(fashion.path[target], layer, tmp_path)
    with pytest.raises(MismatchError, match=f"leaves the model at {module}: off by") as caught:
        vit_export.locate(path)
    names = [one.name for one in caught.value.location.modules]
    before = caught.value.location.modules[: names.index(module)]
    assert all(one.worst.passed for one in before)


def test_from_the_outside(fashion, tmp_path):
    """The table ends at the file's answer, the picture is there, the exit code says it."""
    path, plot = tampered(fashion.path["onnx"], "blocks.1.mlp.expand", tmp_path), tmp_path / "p.png"
    done = run("locate", path, "--plot", plot, "-q", exit_code=4)
    rows = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    inside = ["attention_norm", "attention", "mlp_norm", "mlp"]
    assert rows[1:7] == ["blocks.0", *(f"blocks.1.{part}" for part in inside), "blocks.1"]
    assert rows[-1] == "head"
    assert "leaves the model at blocks.1.mlp" in done.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")
    told = json.loads(run("locate", path, "--json", "-q", exit_code=4).stdout)
    assert told["exit_code"] == 4
    assert told["location"]["first"] == "blocks.1.mlp"


def test_a_whole_file(fashion_file):
    told = run_json("locate", fashion_file, "-q")
    manifest = read_manifest(open_artifact(fashion_file), fashion_file)
    assert told["first"] is None
    assert [one["name"] for one in told["modules"]] == list_taps(manifest.spec)
    assert "answer as eager PyTorch's" in run("locate", fashion_file, "-q").stdout


def written(spec, path):
    """`spec` as a TOML file: its random weights can be made again from the seed."""
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if value is not None]
    path.write_text("\n".join(["[vit]", *lines]))
    return path


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
def test_every_module_of_every_kind_is_held_against_eager(tmp_path, variant, target):
    spec = tiny_spec(**VARIANTS[variant])
    out = tmp_path / "f.file"
    getattr(vit_export, target)(written(spec, tmp_path / "m.toml"), out)
    found = vit_export.locate(out)
    assert [one.name for one in found.modules] == list_taps(spec)


def test_in_the_flavour_of_onnxruntime(tmp_path):
    vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", flavour="onnxruntime")
    names = [one.name for one in vit_export.locate(tmp_path / "f.onnx").modules]
    assert {"blocks.0.attention", "blocks.3"} <= set(names)


def test_with_the_weights_it_was_made_of(tmp_path):
    """A checkpoint of the user's, resampled to another size; and one that is not it."""
    spec = tiny_spec(image_size=(16, 16))
    for seed in (0, 1):
        state = vit_export.model.vit.state.random_vit(spec, seed).state_dict()
        torch.save(state, tmp_path / f"{seed}.pth")
    out = tmp_path / "f.onnx"
    model = written(spec, tmp_path / "m.toml")
    vit_export.onnx(model, out, weights=tmp_path / "0.pth", image_size="24x16")
    assert vit_export.locate(out, weights=tmp_path / "0.pth").first is None
    with pytest.raises(RequestError, match="does not hold the weights"):
        vit_export.locate(out, weights=tmp_path / "1.pth")
    told = refused("locate", out, exit_code=2)
    assert "give --weights: it was made of 0.pth" in told


def test_a_file_that_takes_no_single_image(tmp_path, tiny_toml):
    vit_export.onnx(tiny_toml, tmp_path / "f.onnx", batch="2")
    with pytest.raises(RequestError, match="takes no single image"):
        vit_export.locate(tmp_path / "f.onnx")


def test_a_graph_of_other_layers(fashion, tmp_path):
    """An archive whose layers are not those of its manifest is refused, not misread."""
    good = fashion.path["torchscript"]
    manifest = read_manifest(open_artifact(good), good)
    lowered = lower(rebuild_identical_vit(manifest, None))
    lowered.head.pooled_norm = torch.nn.Identity()
    build(lowered, manifest, tmp_path / "f.pt")
    with pytest.raises(RequestError, match="has 25 layers, its model 26"):
        vit_export.locate(tmp_path / "f.pt")
