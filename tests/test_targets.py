"""What every target owes its users; a new one is tested by standing in BACKENDS."""

from dataclasses import replace

import pytest
from support import need, refused, run

import vit_export
from vit_export.api import doctor
from vit_export.backends import BACKENDS, find_installed_backend
from vit_export.backends.option import Option
from vit_export.core.errors import MissingError, RequestError


@pytest.fixture(params=BACKENDS)
def target(request):
    works = {health.target: health for health in doctor()}[request.param]
    need(request.param, present=works.works, fix=works.fix)
    return BACKENDS[request.param]


def test_it_introduces_itself(target):
    assert target.summary.endswith(".")
    assert target.suffix.startswith(".")
    told = run(target.name, "--help").stdout
    assert target.summary[:40] in told
    for option in target.options:
        assert f"--{option.flag_name}" in told


def test_it_has_a_twin_in_python(target):
    assert callable(getattr(vit_export, target.name))
    assert target.name in vit_export.__all__


def test_the_same_request_gives_the_same_bytes(tmp_path, target, tiny_export):
    """From two folders, with two names: neither a path nor the time is in the file."""
    files = [tmp_path / "a" / f"one{target.suffix}", tmp_path / "b" / f"one{target.suffix}"]
    for file in files:
        file.parent.mkdir()
        tiny_export(target.name, file)
    made = [{path.name: path.read_bytes() for path in file.parent.iterdir()} for file in files]
    assert made[0] == made[1]
    beside = {f"{files[0].name}.json"} if target.name == "trt" else set()
    assert made[0].keys() == {files[0].name} | beside


@pytest.mark.parametrize("batch", ["1", "5", "2:4:8"])
def test_it_takes_the_batches_it_was_built_for(tmp_path, target, tiny_toml, batch):
    out = tmp_path / f"one{target.suffix}"
    built = getattr(vit_export, target.name)(tiny_toml, out, batch=batch)
    expected = {"1": (1,), "5": (5,), "2:4:8": (2, 3, 4, 8)}[batch]
    assert built.verdict.batches == expected
    assert built.verdict.status == ("BUILT, NOT RUN" if built.verdict.not_run else "PROVEN")


def test_the_verdict_can_be_had_again(tmp_path, target, tiny_toml):
    built = getattr(vit_export, target.name)(tiny_toml, tmp_path / f"one{target.suffix}")
    if built.verdict.not_run:  # an engine, without a GPU
        with pytest.raises(MissingError, match="not checkable here"):
            vit_export.validate(built.path)
        return
    again = vit_export.validate(built.path)
    assert again.against_eager == built.verdict.against_eager


def test_an_earlier_result_survives_a_bad_request(tmp_path, target, tiny_export):
    out = tmp_path / f"one{target.suffix}"
    out.write_text("an earlier result")
    tiny_export(target.name, out, "--batch", "none", exit_code=2)
    assert out.read_text() == "an earlier result"


def test_a_file_cut_in_half_is_no_artifact(tmp_path, fashion_file):
    half = tmp_path / "half"
    content = fashion_file.read_bytes()
    half.write_bytes(content[: len(content) // 2])
    assert str(half) in refused("validate", half, exit_code=2)


def test_options_are_checked():
    with pytest.raises(RequestError, match="opset 17 is not supported"):
        BACKENDS["onnx"].parse_options({"opset": 17})
    with pytest.raises(RequestError, match="opset is '20'"):
        BACKENDS["onnx"].parse_options({"opset": "20"})
    with pytest.raises(RequestError, match="simplify is 1"):
        BACKENDS["onnx"].parse_options({"simplify": 1})
    with pytest.raises(RequestError, match="no option 'opsett'") as refusal:
        BACKENDS["onnx"].parse_options({"opsett": 20})
    assert refusal.value.fix == "Did you mean 'opset'?"
    assert Option(name="level", default=3, help="").check(7) == 7


def test_an_unknown_target():
    with pytest.raises(RequestError) as refusal:
        find_installed_backend("onxx")
    assert refusal.value.fix == "Did you mean 'onnx'?"


def test_a_package_of_several_names_is_found_by_its_module():
    """Of TensorRT there are tensorrt, tensorrt-cu12 and more."""
    one_of = {"no-such-distribution": "json", "another": "no_such_module"}
    target = replace(BACKENDS["onnx"], packages=(), one_of=one_of)
    assert target.missing_packages() == ()
    target = replace(target, one_of={"first": "no_such_module", "another": "nor_this"})
    assert target.missing_packages() == ("first",)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("vit_export.backends.base.versions_of", lambda _: {})
    with pytest.raises(MissingError) as missing:
        find_installed_backend("torchscript")
    assert missing.value.fix == "pip install torch"
    assert missing.value.exit_code == 3
