"""Which library builds an engine on this machine, and which options mean something to it."""

from types import SimpleNamespace

import pytest

from vit_export.backends.tensorrt import torch_tensorrt, variant
from vit_export.backends.tensorrt.compute_capability import (
    describe_capabilities,
    list_capabilities,
    list_default_capabilities,
    parse_capabilities,
)
from vit_export.backends.tensorrt.cuda import Gpu
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.options import DEFAULTS, check_machine, check_options
from vit_export.backends.tensorrt.report import find_version_issue
from vit_export.backends.tensorrt.variants import VARIANTS, choose, describe_machine
from vit_export.core.errors import MissingError, RequestError

ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9")
HOPPER = Gpu("NVIDIA H100 80GB HBM3", "9.0")


@pytest.mark.parametrize(
    ("text", "capabilities"),
    [
        ("", ()),
        ("ada", ("8.9",)),
        ("blackwell, ampere,8.9", ("8.0", "8.6", "8.9", "12.0", "12.1")),
    ],
)
def test_architectures_are_capabilities(text, capabilities):
    assert parse_capabilities(text) == capabilities


def test_an_unknown_architecture():
    with pytest.raises(RequestError, match="adaa") as error:
        parse_capabilities("adaa")
    assert error.value.fix == "Did you mean 'ada'?"
    assert describe_capabilities(()) == "compute capability 8.0 and later"


def test_the_capabilities_are_those_that_the_library_names():
    rtx = pytest.importorskip("tensorrt_rtx")
    assert list_capabilities(rtx) == list_capabilities()
    assert list_default_capabilities(rtx) == ("8.0", "8.6", "8.9", "12.0", "12.1")
    later = SimpleNamespace(ComputeCapability=SimpleNamespace(NONE=0, CURRENT=1, SM90=2, SM103=3))
    assert list_capabilities(later) == ("9.0", "10.3")


def known_issue(kind, version):
    return find_version_issue(EngineInfo(kind=kind, version=version))


def test_versions_that_get_vits_wrong():
    assert "issues/4723" in known_issue("tensorrt", "10.3.0.26")
    assert "issues/4742" in known_issue("tensorrt", "10.4.1")
    assert known_issue("tensorrt", "10.6.0") == ""
    assert known_issue("rtx", "10.3.0") == ""


def test_torch_tensorrt_builds_with_the_installed_tensorrt(monkeypatch):
    monkeypatch.setattr(torch_tensorrt, "find_versions", lambda _: {"tensorrt-cu12": "10.3.0.26"})
    assert "TensorRT 10.3.0.26 is known to be wrong" in known_issue("torch", "2.10.0")
    monkeypatch.setattr(torch_tensorrt, "find_versions", lambda _: {})
    assert known_issue("torch", "10.3.0") == ""


SM = {"SM75": 1, "SM80": 2, "SM89": 3, "SM120": 4}
"""What the library of `install` compiles for."""


@pytest.fixture
def install(monkeypatch):
    """`install(*names, broken=...)`: which variants can be found, and which modules are broken."""

    def install(*names, broken=(), names_of=SM):
        library = SimpleNamespace(
            __version__="1.2.3", ComputeCapability=SimpleNamespace(**names_of)
        )
        modules = [one.module for one in VARIANTS.values() if one.name in names]
        monkeypatch.setattr(variant, "find_spec", lambda name: name if name in modules else None)

        def load(name):
            if name in broken:
                raise OSError("libnvinfer.so.10: cannot open")
            return library

        monkeypatch.setattr(variant, "import_module", load)

    return install


@pytest.mark.parametrize(
    ("names", "gpu", "chosen", "passed_over"),
    [
        (("tensorrt", "rtx", "torch"), ADA, "tensorrt", ()),
        (("tensorrt", "rtx", "torch"), None, "rtx", ("tensorrt: no GPU here",)),
        (("rtx",), ADA, "rtx", ("tensorrt: not installed",)),
        (("torch",), ADA, "torch", ("tensorrt: not installed", "rtx: not installed")),
    ],
)
def test_the_first_that_works_here_is_chosen(install, names, gpu, chosen, passed_over):
    install(*names)
    choice = choose("auto", gpu)
    assert choice.variant.name == chosen
    assert [reason.partition(",")[0] for reason in choice.passed_over] == list(passed_over)


def test_a_gpu_that_the_library_does_not_name_is_refused_before_the_build(install):
    install("rtx")
    with pytest.raises(MissingError) as error:
        choose("rtx", HOPPER)
    named = "it compiles for compute capability 7.5, 8.0, 8.9, 12.0, and here is a NVIDIA H100"
    assert named in error.value.message
    assert "pip install tensorrt" in error.value.fix
    assert error.value.exit_code == 3
    with pytest.raises(MissingError, match=f"rtx: {named}"):
        choose("auto", HOPPER)
    assert choose("rtx", HOPPER, builds_for_here=False).variant.name == "rtx"  # for those of --gpu
    assert f"rtx: {named}" in describe_machine(HOPPER)
    assert "rtx: yes" in describe_machine(ADA)


def test_another_library_is_passed_over_to(install):
    install("rtx", "torch")
    choice = choose("auto", HOPPER)
    assert choice.variant.name == "torch"
    assert "rtx: it compiles for compute capability" in choice.passed_over[1]


def test_a_later_library_may_name_more(install):
    install("rtx", names_of={"SM89": 1, "SM90": 2})
    choice = choose("rtx", HOPPER)
    assert choice.default_capabilities == ("8.9", "9.0")
    assert "rtx: yes" in describe_machine(HOPPER)


def test_an_engine_that_has_to_run_is_for_the_gpu_that_is_here():
    options = {**DEFAULTS, "require_run": True, "gpu": "ampere"}
    check_machine(VARIANTS["rtx"], {**options, "gpu": "ada"}, ADA)
    check_machine(VARIANTS["rtx"], {**options, "gpu": ""}, ADA)
    with pytest.raises(MissingError, match=r"here is a NVIDIA GeForce RTX 4090 of 8\.9") as error:
        check_machine(VARIANTS["rtx"], options, ADA)
    assert "leave --gpu out" in error.value.fix


def test_nothing_works_here(install):
    install()
    with pytest.raises(MissingError, match="No TensorRT works here") as error:
        choose("auto", None)
    assert error.value.fix == "pip install tensorrt-rtx"
    install("tensorrt", "torch")
    with pytest.raises(MissingError, match="no GPU here"):
        choose("auto", None)


def test_a_broken_installation_is_explained(install):
    install("tensorrt", broken=("tensorrt",))
    with pytest.raises(MissingError) as error:
        choose("tensorrt", ADA)
    reason = "it is installed and can't be imported (libnvinfer.so.10: cannot open)"
    assert error.value.message == f"TensorRT: {reason}."
    assert "pip install --force-reinstall tensorrt" in error.value.fix
    with pytest.raises(MissingError) as error:
        choose("auto", ADA)
    assert f"here: tensorrt: {reason}; rtx: not installed;" in error.value.message


def test_a_requested_variant_that_does_not_work_here(install):
    install("tensorrt")
    with pytest.raises(MissingError) as error:
        choose("tensorrt", None)
    assert "--engine rtx" in error.value.fix
    with pytest.raises(MissingError) as error:
        choose("torch", ADA)
    assert error.value.fix == "pip install torch-tensorrt"


@pytest.mark.parametrize(
    ("name", "option", "value", "flag"),
    [
        ("tensorrt", "gpu", "ada", "--gpu"),
        ("rtx", "level", 5, "--level"),
        ("rtx", "timing_cache", "cache", "--timing-cache"),
        ("rtx", "hardware", "ampere-plus", "--hardware"),
        ("rtx", "version_compatible", True, "--version-compatible"),
        ("torch", "refit", True, "--refit"),
        ("torch", "save_onnx", True, "--save-onnx"),
        ("torch", "opset", 21, "--opset"),
        ("torch", "flavour", "onnxruntime", "--for"),
        ("torch", "simplify", False, "--no-simplify"),
    ],
)
def test_options_of_another_variant_are_refused(name, option, value, flag):
    check_options(VARIANTS[name], DEFAULTS)
    with pytest.raises(RequestError, match=f"{flag} means nothing"):
        check_options(VARIANTS[name], {**DEFAULTS, option: value})


def test_options_that_need_each_other():
    tensorrt = VARIANTS["tensorrt"]
    with pytest.raises(RequestError) as error:
        check_options(tensorrt, {**DEFAULTS, "strip_weights": True})
    assert "--save-onnx" in error.value.fix
    check_options(tensorrt, {**DEFAULTS, "strip_weights": True, "save_onnx": True})


def test_the_timing_cache_has_to_be_writable(tmp_path):
    tensorrt = VARIANTS["tensorrt"]
    nowhere = {**DEFAULTS, "timing_cache": str(tmp_path / "nowhere" / "cache")}
    with pytest.raises(RequestError, match="does not exist"):
        check_options(tensorrt, nowhere)
    with pytest.raises(RequestError, match="is a folder"):
        check_options(tensorrt, {**DEFAULTS, "timing_cache": str(tmp_path)})
