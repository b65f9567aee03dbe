"""The Python twins: the same options and the same verdict as the commands."""

import inspect
import json

import pytest
import seed_vit
import torch
from support import FASHION, SEED_STYLE, run_json, tiny_spec

import vit_export
from vit_export import api
from vit_export.artifact.precision import OPTION_PRECISIONS
from vit_export.backends import BACKENDS
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.cli import cli
from vit_export.core.to_json import to_json
from vit_export.model.vit.state import random_vit
from vit_export.model.vit.vit import Vit

IMAGE = FASHION / "images" / "bag_1.png"


def test_every_command_has_a_twin():
    assert set(cli.commands) == {name for name in vit_export.__all__ if name.islower()}
    with pytest.raises(AttributeError, match="no attribute 'tensorflow'"):
        _ = vit_export.tensorflow


def test_no_folder_hides_a_function():
    """Whichever parts of the package are imported: `bench` is a folder too."""
    import vit_export.bench.run

    assert inspect.isfunction(vit_export.bench)
    assert vit_export.bench is api.bench


@pytest.mark.parametrize("name", cli.commands)
def test_twins_take_the_same_options(name):
    shown_only = {"as_json", "quiet", "verbose", "help"}
    command = {parameter.name for parameter in cli.commands[name].params} - shown_only
    twin = api.build if name in BACKENDS else getattr(api, name)
    python = set(inspect.signature(twin).parameters) - {"progress", "target", "options"}
    target = BACKENDS.get(name)
    own = {*(option.name for option in target.options), *target.shorts} if target else set()
    offered = set(target.precisions) if target else set()
    useless = {
        option for option, owners in OPTION_PRECISIONS.items() if target and not owners & offered
    }
    renamed = {"page": "report"}
    assert {renamed.get(option, option) for option in command} == python - useless | own


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_the_same_verdict_as_the_command(tmp_path, fashion, target):
    built = getattr(vit_export, target)("fashion_mnist", tmp_path / "again")
    assert built.verdict.status == "PROVEN"
    told = fashion.told[target]
    assert [one["max_abs"] for one in told["verdict"]["against_eager"]] == [
        one.max_abs for one in built.verdict.against_eager
    ]
    assert built.size_bytes == told["size_bytes"]
    assert built.path.read_bytes() == fashion.path[target].read_bytes()


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
@torch.no_grad()
def test_a_live_seed_module(tmp_path, target):
    """The user's own einops ViT, as the seed document writes it: trained, in memory, exported."""
    torch.manual_seed(0)
    live = seed_vit.ViT(patch_size=8, emb_size=24, img_size=16, depth=1, n_classes=5, num_heads=3)
    built = getattr(vit_export, target)(live.eval(), tmp_path / "live")
    assert built.verdict.status == "PROVEN"
    session = open_artifact(built.path)
    images = torch.randn(3, 3, 16, 16)
    answers = torch.from_numpy(session.run(images.numpy()))
    torch.testing.assert_close(answers, live(images), rtol=1e-4, atol=1e-5)
    assert not built.origin.random_weights


def test_a_spec_with_its_state_dict(tmp_path):
    spec = tiny_spec(depth=1, **SEED_STYLE)
    built = vit_export.onnx((spec, Vit(spec).state_dict()), tmp_path / "f.onnx", opset=18)
    assert built.verdict.status == "PROVEN"


def test_features_are_proven_and_not_classified(tmp_path):
    spec = tiny_spec(depth=1, classes=None)
    model = (spec, random_vit(spec, 0).state_dict())
    built = vit_export.onnx(model, tmp_path / "f.onnx")
    assert {one.top1 for one in built.verdict.against_eager} == {None}
    with pytest.raises(vit_export.RequestError, match="has no classes"):
        vit_export.predict(built.path, [IMAGE])


def test_an_unknown_module_names_the_families(tmp_path):
    with pytest.raises(vit_export.RequestError) as refusal:
        vit_export.onnx(torch.nn.Linear(3, 3), tmp_path / "f.onnx")
    assert "known: " in refusal.value.fix
    assert list(tmp_path.iterdir()) == []


def test_predict(fashion_file):
    (found,) = vit_export.predict(fashion_file, [IMAGE], top=2)
    assert found.classes[0] == "Bag"
    assert len(found.probabilities) == 2
    with pytest.raises(vit_export.RequestError, match="top is 0"):
        vit_export.predict(fashion_file, [IMAGE], top=0)


def test_validate_is_the_commands(fashion_file):
    told = run_json("validate", fashion_file, "-q")
    assert told == json.loads(to_json(vit_export.validate(fashion_file).to_mapping()))


def test_the_manifest_says_what_was_asked(tmp_path):
    spec = tiny_spec(depth=1)
    model = (spec, random_vit(spec, 0).state_dict())
    built = vit_export.onnx(model, tmp_path / "f.onnx", opset=19, batch="1:2:4", simplify=False)
    manifest = read_manifest(open_artifact(built.path), built.path)
    told = {"opset": 19, "flavour": "portable", "simplify": False}
    assert manifest.settings.values == told | {"preprocess": "none", "head": "logits"}
    assert str(manifest.batch) == "1:2:4"
    assert manifest.versions["torch"] == torch.__version__
    assert manifest.spec == spec


def test_a_wrong_rewrite_is_noticed_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr("vit_export.model.vit.lowering.block.deinterleave_qkv", lambda qkv, *_: qkv)
    spec = tiny_spec(depth=1, **SEED_STYLE)
    with pytest.raises(vit_export.ProofError, match="the lowered module is not the model"):
        vit_export.onnx((spec, random_vit(spec, 0).state_dict()), tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


def test_progress_opens_around_every_stage(tmp_path):
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def progress(stage):
        seen.append(stage)
        yield

    spec = tiny_spec(depth=1)
    model = (spec, random_vit(spec, 0).state_dict())
    vit_export.onnx(model, tmp_path / "f.onnx", progress=progress)
    assert seen[:3] == ["load", "answer in eager PyTorch", "lower"]
    assert seen[-1] == "prove batch 16"


def test_summary_models_and_doctor():
    assert vit_export.summary().parameters == 86_567_656
    assert ("fashion_mnist", 803_338) in [(one.name, count) for one, count in vit_export.models()]
    assert {one.target for one in vit_export.doctor()} == set(BACKENDS)
