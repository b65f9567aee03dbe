"""The public functions: their signatures, and the same verdict as the commands."""

import inspect
import json
import re
import sys
from contextlib import contextmanager
from inspect import Parameter

import pytest
import seed_vit
import torch
from support import FASHION, ROOT, SEED_STYLE, run, run_json, tiny_spec

import vit_export
from vit_export import api
from vit_export.backends import BACKENDS
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.cli import cli
from vit_export.core.to_json import to_json
from vit_export.model.vit.state import random_vit
from vit_export.model.vit.vit import Vit

IMAGE = FASHION / "images" / "bag_1.png"
WITHOUT_COMMAND = {"register_exporter"}
FUNCTIONS = [n for n in vit_export.__all__ if n.islower() and n not in WITHOUT_COMMAND]


def test_every_command_has_a_function():
    assert set(cli.commands) == set(FUNCTIONS)
    with pytest.raises(AttributeError, match="no attribute 'tensorflow'"):
        _ = vit_export.tensorflow


def test_every_exported_name_is_there_and_listed():
    assert set(vit_export.__all__) == set(dir(vit_export))
    for name in vit_export.__all__:
        exported = getattr(vit_export, name)
        assert exported.__name__ == exported.__qualname__ == name
        assert getattr(sys.modules[exported.__module__], name) is exported
        assert inspect.getdoc(exported)


def test_no_folder_hides_a_function():
    """Whichever parts of the package are imported: `bench` is a folder too."""
    import vit_export.bench.run

    assert inspect.isfunction(vit_export.bench)
    assert vit_export.bench is api.bench


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_the_options_of_its_command(name):
    shown_only = {"as_json", "as_csv", "quiet", "verbose", "help"}
    command = {parameter.name for parameter in cli.commands[name].params} - shown_only
    function = inspect.signature(getattr(vit_export, name))
    memory_only = {"progress", "example"}  # the shape of a module that no command line has
    assert command == set(function.parameters) - memory_only


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_documents_and_annotates_each_parameter(name):
    function = getattr(vit_export, name)
    signature, docstring = inspect.signature(function), inspect.getdoc(function)
    entries = re.findall(r"^    (\w+): \S", docstring.partition("Args:")[2], re.MULTILINE)
    errors = re.findall(r"^    (\w+): \S", docstring.partition("Raises:")[2], re.MULTILINE)
    assert inspect.isfunction(function)
    assert entries == [*signature.parameters, *errors]
    assert {*function.__annotations__} == {*signature.parameters, "return"}
    assert Parameter.empty not in {one.annotation for one in signature.parameters.values()}
    assert bool(errors) == bool(entries), "only what can't be wrong raises nothing"


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backends_own_options_stand_in_its_signature(name):
    backend, parameters = BACKENDS[name], inspect.signature(getattr(vit_export, name)).parameters
    for option in backend.options:
        assert parameters[option.name].default == option.default
        assert option.help in " ".join(getattr(vit_export, name).__doc__.split())
    for flag in backend.precision_flags:
        assert parameters[flag].annotation is bool


def test_type_checkers_see_the_functions_as_they_are(tmp_path):
    """`__init__.pyi` is what the script writes, and the script notices where it is not."""
    run(ROOT / "scripts" / "stubs.py", "--check", command=sys.executable)
    script, stub = tmp_path / "scripts" / "stubs.py", tmp_path / "vit_export" / "__init__.pyi"
    for path in (script, stub):
        path.parent.mkdir()
        path.write_text((ROOT / path.relative_to(tmp_path)).read_text())
    stub.write_text(stub.read_text().replace("opset: int = 20", "opset: int = 17"))
    done = run(script, "--check", command=sys.executable, exit_code=1)
    assert "Fix: python scripts/stubs.py" in done.stderr


@pytest.mark.slow
def test_a_type_checker_finds_a_users_mistakes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import vit_export\n"
        "built = vit_export.onnx('fashion_mnist', 'f.onnx', opset=18)\n"
        "accepted: bool = built.verdict.accepted\n"
        "vit_export.onnx('fashion_mnist', 'f.onnx', opsett=18)\n"
        "vit_export.trt('fashion_mnist', 'f.engine', engine='none')\n"
        "vit_export.bench(7)\n"
    )
    done = run("-m", "mypy", program, command=sys.executable, cwd=ROOT, exit_code=1)
    lines = re.findall(r"program.py:(\d+): error", done.stdout)
    assert lines == ["4", "5", "6"]


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_the_same_verdict_and_the_same_bytes_as_the_command(tmp_path, fashion, target):
    built = getattr(vit_export, target)("fashion_mnist", tmp_path / "again")
    assert built.verdict.status == "PROVEN"
    report = fashion.report[target]
    assert [one["max_abs"] for one in report["verdict"]["against_eager"]] == [
        one.max_abs for one in built.verdict.against_eager
    ]
    assert built.size_bytes == report["size_bytes"]
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
    spec = tiny_spec(**SEED_STYLE)
    built = vit_export.onnx((spec, Vit(spec).state_dict()), tmp_path / "f.onnx")
    assert built.verdict.status == "PROVEN"


def test_features_are_proven_and_not_classified(tmp_path):
    spec = tiny_spec(classes=None)
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
    (prediction,) = vit_export.predict(fashion_file, [IMAGE], top=2)
    assert prediction.classes[0] == "Bag"
    assert len(prediction.probabilities) == 2
    with pytest.raises(vit_export.RequestError, match="top is 0"):
        vit_export.predict(fashion_file, [IMAGE], top=0)


def test_validate_returns_what_the_command_prints(fashion_file):
    printed = run_json("validate", fashion_file, "-q")
    assert printed == json.loads(to_json(vit_export.validate(fashion_file).to_mapping()))


def test_the_manifest_records_the_options(tmp_path):
    spec = tiny_spec(depth=1, **SEED_STYLE)
    model = (spec, random_vit(spec, 0).state_dict())
    built = vit_export.onnx(model, tmp_path / "f.onnx", opset=19, batch="1:2:4", simplify=False)
    manifest = read_manifest(open_artifact(built.path), built.path)
    options = {"opset": 19, "flavour": "portable", "simplify": False}
    assert manifest.settings.values == options | {"preprocess": "none", "head": "logits"}
    assert str(manifest.batch) == "1:2:4"
    assert manifest.versions["torch"] == torch.__version__
    assert manifest.spec == spec


def test_a_wrong_rewrite_is_refused_before_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr("vit_export.model.vit.lowering.block.deinterleave_qkv", lambda qkv, *_: qkv)
    spec = tiny_spec(depth=1, **SEED_STYLE)
    with pytest.raises(vit_export.ProofError, match="the lowered module is not the model"):
        vit_export.onnx((spec, random_vit(spec, 0).state_dict()), tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


def test_progress_opens_around_every_stage(tmp_path):
    stages = []

    @contextmanager
    def progress(stage):
        stages.append(stage)
        yield

    spec = tiny_spec(depth=1)
    model = (spec, random_vit(spec, 0).state_dict())
    vit_export.onnx(model, tmp_path / "f.onnx", progress=progress)
    assert stages[:3] == ["load", "answer in eager PyTorch", "lower"]
    assert stages[-1] == "prove batch 16"


def test_summary_models_and_doctor():
    assert vit_export.summary().parameters == 86_567_656
    assert ("fashion_mnist", 803_338) in [(one.name, count) for one, count in vit_export.models()]
    assert {one.target for one in vit_export.doctor()} == {*BACKENDS, "emulation"}
