"""What every backend owes its users: the registered ones, and a toy as any that is added."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import expect_error, need, run_json
from toy_backend.backend import TOY

import vit_export
from vit_export.api import build, doctor
from vit_export.artifact.manifest import Manifest
from vit_export.backends import BACKENDS, find_backend, find_installed_backend
from vit_export.backends.open import find_backend_of, open_artifact, read_manifest, recognize
from vit_export.backends.option import Option
from vit_export.backends.session import NotHereError
from vit_export.cli.export import export_command
from vit_export.core.errors import MissingError, RequestError
from vit_export.validation.verdict import RejectedError

OPTIONS = {
    "onnx": {"opset": 18, "simplify": False, "head": "softmax"},
    "torchscript": {"preprocess": "graph"},
    "trt": {"opset": 19, "gpu": "ada", "engine": "rtx"},
}
"""Options of a backend that differ from their defaults, where not any other value will do."""


def other_options(backend):
    """Return options of a backend that differ from their defaults."""
    if backend.name in OPTIONS:
        return OPTIONS[backend.name]
    return {one.name: other_value(one) for one in backend.options if one.recorded}


def other_value(option):
    """Return another value than the default of an option."""
    if isinstance(option.default, bool):
        return not option.default
    if isinstance(option.default, str):
        return next(one for one in (*option.choices, "other") if one != option.default)
    return option.maximum if option.maximum != option.default else option.minimum


@pytest.fixture(scope="module", autouse=True)
def _toy():
    """The toy is registered as long as these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKENDS, TOY.name, TOY)
        yield


@pytest.fixture(scope="module", params=[*BACKENDS, TOY.name])
def backend(request):
    health = {one.target: one for one in doctor()}[request.param]
    need(request.param, present=health.works, fix=health.fix)
    return BACKENDS[request.param]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A preset of one block, which is exported in no time."""
    path = tmp_path_factory.mktemp("model") / "small.toml"
    path.write_text(
        "[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\ndepth = 1\nheads = 3\nclasses = 5\n"
        "[preprocessing]\nresize = 16\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    )
    return path


@pytest.fixture(scope="module")
def built(backend, model, tmp_path_factory):
    """An export with default options, which tests only read."""
    out = tmp_path_factory.mktemp(backend.name) / f"one{backend.suffix}"
    return build(backend.name, model, out)


@pytest.fixture
def artifact(backend, built, tmp_path):
    """A copy of that file and its companions, to spoil."""
    path = tmp_path / built.path.name
    for file in (built.path, *backend.companions(built.path)):
        if file.is_file():
            shutil.copy(file, tmp_path / file.name)
    return path


def file_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_introduces_itself(backend, capsys, monkeypatch):
    assert backend.summary.endswith(".")
    assert backend.suffix.startswith(".")
    monkeypatch.setenv("COLUMNS", "200")
    export_command(backend).main(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    assert backend.summary[:40] in text
    for option in backend.options:
        assert f"--{option.flag_name}" in text


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != TOY.name])
def test_a_registered_backend_has_a_python_function(name):
    assert callable(getattr(vit_export, name))
    assert name in vit_export.__all__


def test_it_is_proven_or_says_why_not(built):
    expected = "BUILT, NOT RUN" if built.verdict.not_run else "PROVEN"
    assert built.verdict.status == expected
    assert built.verdict.problems == []


def test_nothing_but_the_file_and_its_companions_is_written(backend, built):
    companions = {path.name for path in backend.companions(built.path) if path.exists()}
    assert set(file_names(built.path.parent)) == {built.path.name} | companions
    sizes = [path.stat().st_size for path in built.path.parent.iterdir()]
    assert built.size_bytes == sum(sizes)


def test_the_manifest_comes_back_whole(backend, built):
    manifest = backend.read_manifest(built.path)
    again = Manifest.from_json(manifest.to_json(), "it")
    assert again.to_json() == manifest.to_json()
    assert (again.target, again.precision) == (backend.name, "fp32")


def test_the_manifest_records_the_options(backend, model, tmp_path):
    out = tmp_path / f"one{backend.suffix}"
    build(backend.name, model, out, **other_options(backend))
    settings = backend.read_manifest(out).settings.values
    assert settings.items() >= other_options(backend).items()
    assert settings.keys() == {option.name for option in backend.options if option.recorded}


def test_build_returns_the_manifest_that_it_wrote(backend, model, tmp_path, monkeypatch):
    pairs = []

    def build_and_read(job, path, progress):
        manifest = backend.build(job, path, progress)
        pairs.append((manifest.to_json(), backend.read_manifest(path).to_json()))
        return manifest

    monkeypatch.setitem(BACKENDS, backend.name, replace(backend, build=build_and_read))
    build(backend.name, model, tmp_path / f"one{backend.suffix}")
    ((returned, written),) = pairs
    assert json.loads(returned) == json.loads(written)


def test_it_recognizes_its_own_files(backend, built):
    assert find_backend_of(built.path) is backend
    assert backend.is_artifact(built.path)


def test_it_recognizes_no_file_of_another(backend, built):
    assert [one.name for one in BACKENDS.values() if recognize(built.path) is one] == [backend.name]


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "empty", "text"])
def test_it_takes_no_checkpoint_for_an_artifact(backend, tmp_path, name):
    path = tmp_path / name
    weights = {"head.weight": torch.zeros(5, 24)}
    if name == "w.safetensors":
        save_file(weights, path)
    elif name == "w.pth":
        torch.save(weights, path)
    else:
        path.write_bytes(b"" if name == "empty" else b"text")
    assert not (backend.recognize(path) and backend.is_artifact(path))


def test_an_open_file_gives_the_same_answers(backend, built):
    """The verdict can be had again, number by number; or the file says why it can't run here."""
    if built.verdict.not_run:
        with pytest.raises(NotHereError, match=built.verdict.not_run):
            vit_export.validate(built.path)
        return
    again = vit_export.validate(built.path)
    assert again.against_eager == built.verdict.against_eager
    session = open_artifact(built.path)
    assert read_manifest(session, built.path).to_json() == (
        backend.read_manifest(built.path).to_json()
    )
    assert session.takes_fp16 is False


def test_inspect_describes_it(backend, built):
    report = run_json("inspect", built.path)
    assert report["kind"] == "artifact"
    assert report["family"].startswith(f"{backend.name}, fp32, batch ")


def test_locate_finds_nothing_or_says_what_to_do_instead(backend, built):
    if backend.open_taps is None:
        assert "Fix: " in expect_error("locate", built.path, exit_code=2)
    else:
        assert vit_export.locate(built.path).first is None


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_file_that_is_cut_off_is_refused(artifact, part):
    content = artifact.read_bytes()
    artifact.write_bytes(content[: int(part * len(content))])
    assert str(artifact) in expect_error("validate", artifact, exit_code=2)


def test_the_same_request_gives_the_same_bytes(backend, built, model, tmp_path):
    """In two folders: neither a path nor the time is in the file."""
    again = build(backend.name, model, tmp_path / built.path.name)
    folders = built.path.parent, again.path.parent
    first, second = ({path.name: path.read_bytes() for path in one.iterdir()} for one in folders)
    assert first == second


@pytest.mark.parametrize("batch", ["1", "5", "2:4:8"])
def test_it_takes_the_batches_it_was_built_for(backend, model, tmp_path, batch):
    out = tmp_path / f"one{backend.suffix}"
    verdict = build(backend.name, model, out, batch=batch).verdict
    assert verdict.batches == {"1": (1,), "5": (5,), "2:4:8": (2, 3, 4, 8)}[batch]
    assert verdict.accepted


def test_an_earlier_result_survives_a_bad_request(backend, artifact, model):
    before = {path.name: path.read_bytes() for path in artifact.parent.iterdir()}
    with pytest.raises(RequestError, match="batch"):
        build(backend.name, model, artifact, batch="none")
    assert {path.name: path.read_bytes() for path in artifact.parent.iterdir()} == before


def test_a_rejected_file_keeps_its_companions_and_a_proven_one_replaces_both(
    backend, artifact, model, monkeypatch
):
    """OUT and what belongs to it stay as they are, until a proven result takes their place."""
    before = {path.name: path.read_bytes() for path in artifact.parent.iterdir()}
    wrong = replace(backend, check_built=lambda *_: ["it is not what was asked for"])
    with monkeypatch.context() as patch:
        patch.setitem(BACKENDS, backend.name, wrong)
        with pytest.raises(RejectedError, match="it is not what was asked for") as error:
            build(backend.name, model, artifact)
    assert error.value.exit_code == 4
    kept = artifact.with_name(f"{artifact.name}.rejected")
    after = {path.name: path.read_bytes() for path in artifact.parent.iterdir()}
    assert after.items() >= before.items()
    assert find_backend_of(kept) is backend
    assert backend.read_manifest(kept).target == backend.name
    assert Path(f"{kept}.report.json").is_file()
    build(backend.name, model, artifact)
    assert file_names(artifact.parent) == sorted(before)


def test_options_are_checked():
    onnx = BACKENDS["onnx"]
    for options, message in (
        ({"opset": 17}, "opset 17 is not supported"),
        ({"opset": "20"}, "opset is '20'"),
        ({"simplify": 1}, "simplify is 1"),
        ({"head": "softmx"}, "head is 'softmx'"),
    ):
        with pytest.raises(RequestError, match=message):
            onnx.parse_options(options)
    with pytest.raises(RequestError, match="no option 'opsett'") as error:
        onnx.parse_options({"opsett": 20})
    assert error.value.fix == "Did you mean 'opset'?"
    assert Option(name="level", default=3, help="").check(7) == 7


def test_an_unknown_name():
    for find in (find_backend, find_installed_backend):
        with pytest.raises(RequestError) as error:
            find("onxx")
        assert error.value.fix == "Did you mean 'onnx'?"


def test_a_package_of_several_names_is_found_by_its_module():
    """TensorRT is called tensorrt, tensorrt-cu12 and more."""
    one_of = {"no-such-distribution": "json", "another": "no_such_module"}
    backend = replace(TOY, packages=(), one_of=one_of)
    assert backend.missing_packages() == ()
    backend = replace(backend, one_of={"first": "no_such_module", "another": "nor_this"})
    assert backend.missing_packages() == ("first",)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("vit_export.backends.base.find_versions", lambda _: {})
    with pytest.raises(MissingError) as error:
        find_installed_backend("torchscript")
    assert error.value.fix == "pip install torch"
    assert error.value.exit_code == 3
