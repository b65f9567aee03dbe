"""Engines from the inside: what is told to TensorRT, what is read of it, and why one won't load."""

import hashlib
import json
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_cuda import FakeDriver
from fake_tensorrt import Engine, Library, Network, Refusal, half_network, layer, tensor
from support import tiny_spec

import vit_export
from vit_export.api import accept as judging
from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends import BACKENDS
from vit_export.backends.onnx.backend import ONNX
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.records import RunFacts
from vit_export.backends.session import NotHereError, RunFailedError
from vit_export.backends.tensorrt import backend as trt
from vit_export.backends.tensorrt import compatibility as loads
from vit_export.backends.tensorrt import known_issues as known
from vit_export.backends.tensorrt import program as trt_program
from vit_export.backends.tensorrt import session as engine
from vit_export.backends.tensorrt import variants as kinds
from vit_export.backends.tensorrt.builder import keep_timings, parsed, serialized
from vit_export.backends.tensorrt.builder_config import Settings, check_settings
from vit_export.backends.tensorrt.compute_capability import capabilities_of, in_words
from vit_export.backends.tensorrt.cuda import Device
from vit_export.backends.tensorrt.driver import DriverError, Gpu, gpu_of
from vit_export.backends.tensorrt.exported import ExportedSession
from vit_export.backends.tensorrt.inspector import check_inspected, counted
from vit_export.backends.tensorrt.known_issues import warning_of
from vit_export.backends.tensorrt.network import census, check_census
from vit_export.backends.tensorrt.options import OPTIONS
from vit_export.backends.tensorrt.progress_monitor import Phases, monitor_of
from vit_export.backends.tensorrt.session import EngineSession, profile_for
from vit_export.backends.tensorrt.sidecar import read_sidecar, write_sidecar
from vit_export.bench.candidates import GPU, Candidate
from vit_export.bench.roofline import gemm_kinds
from vit_export.bench.runners import Runner, runner_of_session
from vit_export.core.errors import BuildError, MissingError, ProofError, RequestError
from vit_export.core.progress import silent, unheard
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.validation.verdict import RejectedError

ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9")
USUAL = {option.name: option.default for option in OPTIONS}


def network_of(library, tmp_path, precision="fp16", flavour="tensorrt"):
    return parsed(library, tmp_path / "f.onnx", precision=precision, flavour=flavour)


def build(library, tmp_path, profiles=((1, 8, 16),), **settings):
    found = network_of(library, tmp_path)
    made = serialized(library, found, profiles, Settings(**settings), unheard)
    if settings.get("timing_cache"):
        assert keep_timings(settings["timing_cache"], made.timings) == ""
    return made.engine, [call for call in library.calls if call[0] != "progress_monitor"]


def test_networks_are_strongly_typed_and_parsed_by_path(tmp_path):
    library = Library(half_network())
    found = network_of(library, tmp_path)
    assert library.calls == [
        ("create_network", 1 << 1),  # 1 << STRONGLY_TYPED
        ("parse_from_file", str(tmp_path / "f.onnx")),
    ]
    assert (found.layers, found.products) == (1, {"fp16": 1})


def test_where_the_flag_is_gone_everything_is_strongly_typed(tmp_path):
    library = Library(half_network())
    del library.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network_of(library, tmp_path)
    assert library.calls[0] == ("create_network", 0)


def test_fp16_that_is_fp32_is_refused_before_it_is_built(tmp_path):
    made = tensor("y")
    library = Library(Network([layer("MATRIX_MULTIPLY", [tensor("x"), tensor("w")], made)]))
    with pytest.raises(ProofError, match="is not fp16: of its products 1 in fp32") as error:
        network_of(library, tmp_path)
    assert error.value.exit_code == 4


def quantized(weight="INT8", activation="INT8"):
    """x -> Q -> DQ -> Unsqueeze and w -> DQ, multiplied."""
    layers = [
        layer("DEQUANTIZE", [tensor("xq", activation)], tensor("xdq")),
        layer("UNSQUEEZE", [tensor("xdq")], tensor("x3")),
        layer("DEQUANTIZE", [tensor("wq", weight)], tensor("wdq")),
        layer("MATRIX_MULTIPLY", [tensor("x3"), tensor("wdq")], tensor("y")),
    ]
    return Network(layers if activation else [layers[2], layers[3]])


def test_a_census_sees_through_what_only_renames():
    assert census(quantized()) == {"int8": 1}
    assert census(quantized(activation="")) == {"fp32 x int8": 1}
    assert census(quantized(activation="", weight="INT4")) == {"fp32 x int4": 1}
    with pytest.raises(ProofError):
        check_census({"fp32": 3, "int8": 2}, "int8-static", "it")
    check_census({"fp32": 2, "int8": 4}, "int8-static", "it")
    with pytest.raises(ProofError, match="none"):
        check_census({}, "fp16", "it")


def test_a_node_that_is_refused_is_named_with_its_module(tmp_path):
    refusal = [Refusal("blocks.3.attention/Attention", "Attention", "no kernel for 96\nmore")]
    with pytest.raises(BuildError) as error:
        network_of(Library(refusal=refusal), tmp_path, flavour="onnxruntime")
    assert error.value.message == (
        "TensorRT's parser refuses node blocks.3.attention/Attention (Attention) of the module "
        "blocks.3.attention: no kernel for 96."
    )
    assert "--for tensorrt avoids it" in error.value.fix


def test_what_the_builder_is_told_by_default(tmp_path):
    made, calls = build(Library(half_network()), tmp_path)
    assert made == b"\0trtan engine"
    shapes = [(size, 3, 16, 24) for size in (1, 8, 16)]
    assert calls[2:] == [
        ("clear_flag", "TF32"),
        ("profiling_verbosity", 1),
        ("add_optimization_profile", "image", *shapes),
    ]


def test_what_the_builder_is_told_with_every_option(tmp_path):
    cache = tmp_path / "cache"
    cache.write_bytes(b"former")
    _, calls = build(
        Library(half_network()),
        tmp_path,
        profiles=((1, 1, 1), (2, 4, 8)),
        workspace_mb=3,
        level=5,
        timing_cache=cache,
        hardware="ampere-plus",
        version_compatible=True,
        capabilities=("8.6", "8.9"),
        strip_weights=True,
    )
    assert [call for call in calls[4:] if call[0] != "add_optimization_profile"] == [
        ("set_memory_pool_limit", "WORKSPACE", 3 * 2**20),
        ("builder_optimization_level", 5),
        ("set_flag", "STRIP_PLAN"),
        ("set_flag", "REFIT_IDENTICAL"),
        ("set_flag", "VERSION_COMPATIBLE"),
        ("hardware_compatibility_level", 1),
        ("num_compute_capabilities", 2),
        ("set_compute_capability", "SM86", 0),
        ("set_compute_capability", "SM89", 1),
        ("create_timing_cache", b"former"),
        ("set_timing_cache", "cache", False),
    ]
    assert sum(call[0] == "add_optimization_profile" for call in calls) == 2
    assert cache.read_bytes() == b"timed"


def test_a_timing_cache_of_another_gpu(tmp_path):
    (tmp_path / "cache").write_bytes(b"of another GPU")
    with pytest.raises(RequestError, match="no timing cache of this GPU"):
        build(Library(half_network()), tmp_path, timing_cache=tmp_path / "cache")
    assert (tmp_path / "cache").read_bytes() == b"of another GPU"


def test_timings_that_can_not_be_kept_lose_no_engine(tmp_path):
    assert "is not written: Is a directory" in keep_timings(tmp_path, b"timed")


def test_weights_that_may_change_are_refittable_in_full(tmp_path):
    _, calls = build(Library(half_network()), tmp_path, refit=True, strip_weights=True)
    assert [call[1] for call in calls if call[0] == "set_flag"] == ["REFIT", "STRIP_PLAN"]


def test_what_a_version_lacks_is_told(tmp_path):
    with pytest.raises(RequestError, match="no hardware compatibility same-capability"):
        build(Library(half_network()), tmp_path, hardware="same-capability")
    with pytest.raises(RequestError, match=r"builds for no GPU of compute capability 12\.0"):
        build(Library(half_network()), tmp_path, capabilities=("12.0",))


def test_a_network_of_fixed_shapes_has_no_profile(tmp_path):
    network = half_network()
    network.image = tensor("image", shape=(4, 3, 16, 24))
    _, calls = build(Library(network), tmp_path)
    assert not [call for call in calls if call[0] == "add_optimization_profile"]


@pytest.mark.parametrize(
    ("told", "message", "fix"),
    [
        ("Error Code 2: OutOfMemory (Requested 9 bytes.)", "ran out of memory", "--workspace"),
        ("no tactics within workspace limit.", "ran out of memory", "--batch"),
        ("Internal Error", "built no engine: Internal Error", "report"),
    ],
)
def test_a_builder_that_gives_up(tmp_path, told, message, fix):
    with pytest.raises(BuildError, match=message) as error:
        build(Library(half_network(), error=told), tmp_path)
    assert fix in error.value.fix


def test_a_build_stops_when_it_is_told_to():
    stop, shares = threading.Event(), []
    monitor = monitor_of(Library(), shares.append, stop)
    monitor.phase_start("Building engine", None, 4)
    assert monitor.step_complete("Building engine", 0)
    stop.set()
    assert not monitor.step_complete("Building engine", 1)
    assert shares == [0.25, 0.5]


def test_phases_inside_phases():
    phases = Phases()
    phases.start("build", None, 2)
    phases.start("optimize", "build", 10)
    phases.step("optimize", 5)
    assert phases.share == 0.25
    phases.finish("optimize")
    phases.step("build", 1)
    assert phases.share == 0.5
    phases.start("optimize", "build", 10)
    phases.step("optimize", 1)
    assert phases.share == pytest.approx(0.55)
    phases.step("build", 99)
    assert phases.share == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("ada", ("8.9",)),
        ("blackwell, ampere,8.9", ("8.0", "8.6", "8.9", "12.0", "12.1")),
    ],
)
def test_architectures_are_capabilities(text, found):
    assert capabilities_of(text) == found


def test_an_architecture_that_is_not_there():
    with pytest.raises(RequestError, match="adaa") as error:
        capabilities_of("adaa")
    assert error.value.fix == "Did you mean 'ada'?"
    assert in_words(()) == "compute capability 8.0 and later"


def test_versions_that_get_vits_wrong():
    assert "issues/4723" in warning_of("tensorrt", "10.3.0.26")
    assert "issues/4742" in warning_of("tensorrt", "10.4.1")
    assert warning_of("tensorrt", "10.6.0") == ""
    assert warning_of("rtx", "10.3.0") == ""


def test_torch_tensorrt_builds_with_the_tensorrt_beside_it(monkeypatch):
    monkeypatch.setattr(known, "versions_of", lambda _: {"tensorrt-cu12": "10.3.0.26"})
    assert "TensorRT 10.3.0.26 is known to be wrong" in warning_of("torch", "2.10.0")
    monkeypatch.setattr(known, "versions_of", lambda _: {})
    assert warning_of("torch", "10.3.0") == ""


def test_a_known_bad_version_is_told_before_the_build(monkeypatch):
    """The build ends here at its first stage, and the warning was there before that."""
    told = []

    def progress(stage):
        told.append(stage)
        if not stage.startswith("Warning: "):
            raise KeyboardInterrupt
        return nullcontext()

    monkeypatch.setattr(trt, "find_gpu", lambda: ADA)
    chosen = kinds.Chosen(kind=kinds.KINDS["tensorrt"], library=Library())
    monkeypatch.setattr(chosen.library, "__version__", "10.4.0", raising=False)
    monkeypatch.setattr(trt, "choose", lambda *_: chosen)
    monkeypatch.setattr(trt, "build_graph", lambda _, progress: progress("capture"))
    settings = {**USUAL, "engine": "tensorrt"}
    manifest = SimpleNamespace(versions={}, batch=Batch.parse("1"))
    monkeypatch.setattr(
        trt, "replace", lambda one, **changes: SimpleNamespace(**vars(one) | changes)
    )
    with pytest.raises(KeyboardInterrupt):
        trt.build(SimpleNamespace(settings=settings, manifest=manifest), Path("f"), progress)
    assert len(told) == 2
    assert "TensorRT 10.4.0 is known to be wrong" in told[0]


@pytest.fixture
def installed(monkeypatch):
    """Says which of the modules can be found and imported."""

    def say(*names, broken=()):
        library = SimpleNamespace(__version__="1.2.3")
        found = [kind.module for kind in kinds.KINDS.values() if kind.name in names]
        monkeypatch.setattr(kinds, "find_spec", lambda name: name if name in found else None)

        def load(name):
            if name in broken:
                raise OSError("libnvinfer.so.10: cannot open")
            return library

        monkeypatch.setattr(kinds, "import_module", load)

    return say


@pytest.mark.parametrize(
    ("names", "gpu", "chosen", "over"),
    [
        (("tensorrt", "rtx", "torch"), ADA, "tensorrt", ()),
        (("tensorrt", "rtx", "torch"), None, "rtx", ("tensorrt: no GPU here",)),
        (("rtx",), ADA, "rtx", ("tensorrt: not installed",)),
        (("torch",), ADA, "torch", ("tensorrt: not installed", "rtx: not installed")),
    ],
)
def test_the_first_that_works_here_is_taken(installed, names, gpu, chosen, over):
    installed(*names)
    found = kinds.choose("auto", gpu)
    assert found.kind.name == chosen
    assert [told.partition(",")[0] for told in found.passed_over] == list(over)


def test_nothing_works_here(installed):
    installed()
    with pytest.raises(MissingError, match="No TensorRT works here") as error:
        kinds.choose("auto", None)
    assert error.value.fix == "pip install tensorrt-rtx"
    installed("tensorrt", "torch")
    with pytest.raises(MissingError, match="no GPU here"):
        kinds.choose("auto", None)


def test_what_was_asked_for_does_not_work_here(installed):
    installed("tensorrt", broken=("tensorrt",))
    with pytest.raises(MissingError) as error:
        kinds.choose("tensorrt", ADA)
    reason = "it is installed and can't be imported (libnvinfer.so.10: cannot open)"
    assert error.value.message == f"TensorRT: {reason}."
    assert "pip install --force-reinstall tensorrt" in error.value.fix
    with pytest.raises(MissingError) as error:
        kinds.choose("auto", ADA)
    assert f"here: tensorrt: {reason}; rtx: not installed;" in error.value.message
    with pytest.raises(MissingError) as error:
        kinds.choose("tensorrt", None)
    assert "--engine rtx" in error.value.fix
    with pytest.raises(MissingError) as error:
        kinds.choose("torch", ADA)
    assert error.value.fix == "pip install torch-tensorrt"


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("tensorrt", "gpu", "ada"),
        ("rtx", "level", 5),
        ("rtx", "timing_cache", "cache"),
        ("rtx", "hardware", "ampere-plus"),
        ("rtx", "version_compatible", True),
        ("torch", "refit", True),
        ("torch", "save_onnx", True),
        ("torch", "opset", 21),
        ("torch", "flavour", "onnxruntime"),
        ("torch", "simplify", False),
    ],
)
def test_options_of_another_engine(kind, option, value):
    check_settings(kind, USUAL, USUAL)
    flag = {"flavour": "for", "simplify": "no-simplify"}.get(option, option.replace("_", "-"))
    with pytest.raises(RequestError, match=f"--{flag} means nothing"):
        check_settings(kind, {**USUAL, option: value}, USUAL)


def test_options_that_need_each_other(tmp_path):
    with pytest.raises(RequestError) as error:
        check_settings("tensorrt", {**USUAL, "strip_weights": True}, USUAL)
    assert "--save-onnx" in error.value.fix
    check_settings("tensorrt", {**USUAL, "strip_weights": True, "save_onnx": True}, USUAL)
    lost = {**USUAL, "timing_cache": str(tmp_path / "nowhere" / "cache")}
    with pytest.raises(RequestError, match="does not exist"):
        check_settings("tensorrt", lost, USUAL)
    with pytest.raises(RequestError, match="is a folder"):
        check_settings("tensorrt", {**USUAL, "timing_cache": str(tmp_path)}, USUAL)


ENGINE = b"\0trt" + bytes(60)
TOLD = {
    "kind": "tensorrt",
    "version": "10.13.3.9",
    "gpu": {"name": ADA.name, "capability": "8.9"},
    "hardware": "none",
    "capabilities": [],
    "size_bytes": len(ENGINE),
    "sha256": hashlib.sha256(ENGINE).hexdigest(),
}


@pytest.fixture
def device(monkeypatch, tmp_path):
    """An engine on a machine that can be chosen: `device(gpu=..., version=..., **told)`."""
    path = tmp_path / "f.engine"
    path.write_bytes(ENGINE)

    def check(gpu=ADA, version="10.13.3.9", **told):
        monkeypatch.setattr(loads, "find_gpu", lambda: gpu)
        monkeypatch.setattr(loads, "load", lambda _: SimpleNamespace(__version__=version))
        return loads.check_loads(path, TOLD | told)

    check.path = path
    return check


def test_an_engine_that_loads(device):
    assert device().__version__ == "10.13.3.9"
    assert device(version="10.14.0", version_compatible=True)
    assert device(gpu=Gpu("L4", "9.0"), hardware="ampere-plus")
    assert device(kind="rtx", gpu=Gpu("RTX 5090", "12.0"))
    assert device(kind="rtx", capabilities=["8.9"])


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ({"version": "10.14.0"}, "was built by TensorRT 10.13.3.9, and 10.14.0 is here"),
        ({"version": "11.0.0", "version_compatible": True}, "11.0.0 is here"),
        ({"version": "10.9", "version_compatible": True}, "10.9 is here"),
        ({"gpu": Gpu("A100", "8.0")}, "is for compute capability 8.9, and here is a A100"),
        ({"gpu": Gpu("RTX 2080", "7.5"), "kind": "rtx"}, "8.0 and later, and here is a RTX 2080"),
        ({"gpu": Gpu("RTX 2080", "7.5"), "hardware": "ampere-plus"}, "8.0 and later"),
        ({"capabilities": ["12.0"], "kind": "rtx"}, "is for compute capability 12.0"),
        ({"gpu": None}, "not checkable here: no GPU here"),
    ],
)
def test_an_engine_that_will_not_load(device, here, told):
    with pytest.raises(NotHereError, match=told) as error:
        device(**here)
    assert error.value.exit_code == 3
    assert error.value.reason in error.value.message


def test_an_engine_whose_library_is_not_here(device, monkeypatch):
    def missing(_):
        raise MissingError("TensorRT: not installed.", "")

    device()
    monkeypatch.setattr(loads, "load", missing)
    with pytest.raises(NotHereError, match=r"needs TensorRT 10\.13\.3\.9: .*not installed"):
        loads.check_loads(device.path, TOLD)


def test_an_engine_that_is_damaged(device):
    device.path.write_bytes(ENGINE[:-1] + b"x")
    with pytest.raises(RequestError, match="damaged"):
        device(gpu=None)  # before anybody looks for a GPU
    device.path.write_bytes(ENGINE[:40])
    with pytest.raises(RequestError, match="is cut off: it has 40 bytes, and 64 were written"):
        device()
    device.path.write_bytes(ENGINE + b"more")
    with pytest.raises(RequestError, match="another file"):
        device()


@pytest.mark.parametrize(
    ("name", "reasons", "told"),
    [
        ("VALID", 0, "valid"),
        ("INVALID", 0, "not checkable here"),
        ("INVALID", 3, "invalid: version_mismatch, unsupported_cc"),
        ("INVALID", 64, "not checkable here"),
    ],
)
def test_what_the_validity_api_says(name, reasons, told):
    library = Library()
    bits = {reason: 1 << i for i, reason in enumerate(loads.REASONS)}
    library.EngineInvalidityDiagnostics = SimpleNamespace(**bits)
    answer = SimpleNamespace(name=name), reasons
    library.Runtime = lambda _: SimpleNamespace(get_engine_validity=lambda _: answer)
    assert loads.validity(library, b"") == told
    library.Runtime = lambda _: SimpleNamespace()
    assert loads.validity(library, b"") == ""


INSPECTED = {
    "Layers": [
        {"LayerType": "gemm", "Inputs": [{"Format/Datatype": "Half"}], "Outputs": []},
        {
            "LayerType": "CaskConvolution",
            "Inputs": [{"Format/Datatype": "Row major linear FP32"}],
            "Outputs": [{"Format/Datatype": "Row major linear FP16 format"}],
        },
        {"LayerType": "kgen", "Outputs": [{"Format/Datatype": "Float"}]},
        "a name alone",
    ]
}


def test_the_inspector_tells_what_products_are_done_in():
    assert counted(json.dumps(INSPECTED)) == {"fp16": 2}
    for document in ("", "[]", "{}", '{"Layers": ["a", "b"]}'):
        assert counted(document) == {}


@pytest.mark.parametrize(
    ("counts", "precision"),
    [
        ({}, "fp16"),  # names alone prove nothing, and refute nothing
        ({"unknown": 9}, "fp16"),
        ({"fp16": 1, "unknown": 9}, "fp16"),
        ({"fp32": 4, "int8": 5}, "int8-static"),
        ({"fp32": 1}, "weights-int8"),
        ({"int8": 1}, "weights-int8"),
    ],
)
def test_products_that_are_what_was_asked_for(counts, precision):
    assert check_inspected(counts, precision) == ""


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"fp32": 9}, "it is not fp16: of its products 9 in fp32"),
        ({"fp32": 9, "fp16": 1}, "it is not fp16: of its products 9 in fp32, 1 in fp16"),
    ],
)
def test_products_that_are_not(counts, told):
    """The share is that of the network's own census."""
    assert check_inspected(counts, "fp16") == told
    with pytest.raises(ProofError, match="is not fp16"):
        check_census(counts, "fp16", "the network")


def test_a_gpu_is_found_through_its_driver():
    assert gpu_of(FakeDriver()) == ADA
    with pytest.raises(DriverError, match="cuDeviceGet answers 100"):
        gpu_of(FakeDriver(failing={"cuDeviceGet": 100}))


def test_memory_on_a_device():
    driver = FakeDriver()
    device = Device(driver)
    assert device.stream == 77
    first = device.room("image", 64)
    assert device.room("image", 16) == first
    assert device.room("image", 128) != first
    assert driver.freed == [first]
    given, back = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    address = device.room("logits", given.nbytes)
    device.write(address, given)
    device.read(address, back)
    device.wait()
    assert back.tolist() == given.tolist()
    assert device.between_ms(device.mark(), device.mark()) == 1.5


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A session on the fake engine with two profiles, and the library that recorded it."""

    def make(batch="1:1:4,5:8:16", driver=None, library=None, **told):
        path = tmp_path / "f.engine"
        path.write_bytes(ENGINE)
        library, driver = library or Library(), driver or FakeDriver()
        runtime = SimpleNamespace(deserialize_cuda_engine=lambda _: Engine(library, driver))
        library.Runtime = lambda _: runtime
        manifest = SimpleNamespace(
            engine=TOLD | told, batch=Batch.parse(batch), to_json=lambda: "{}"
        )
        monkeypatch.setattr(engine, "read_sidecar", lambda _: manifest)
        monkeypatch.setattr(engine, "check_loads", lambda *_: library)
        monkeypatch.setattr(engine, "Device", lambda: Device(driver))
        return EngineSession(path), library

    return make


def test_an_engine_answers_in_the_profile_that_fits(session):
    made, library = session()
    for size, profile in ((1, 0), (4, 0), (5, 1), (16, 1)):
        images = np.random.default_rng(size).standard_normal((size, 3, 2, 2), np.float32)
        answers = made.run(images)
        np.testing.assert_allclose(answers[:, 0], 2 * images.sum(axis=(1, 2, 3)), rtol=1e-5)
        assert library.calls[-1] == ("execute_async_v3", profile, 77)
    assert ("set_optimization_profile_async", 1, 77) in library.calls
    assert made.time_ms(images) == 1.5
    assert made.matmuls_by_dtype() == {"fp16": 1}
    assert made.manifest_json() == "{}"


def test_a_bench_takes_the_clock_of_the_gpu(session):
    made, _ = session()
    assert runner_of_session(made).time_ms(np.zeros((1, 3, 2, 2), np.float32)) == 1.5
    calls = []
    assert 0 <= Runner(calls.append, "").time_ms(np.zeros(1, np.float32)) < 1000
    assert len(calls) == 1
    candidate = Candidate(name="f", kind="artifact", arithmetic=GPU)
    assert gemm_kinds([candidate]) == [("fp32", "onnxruntime")]


def test_a_batch_outside_of_every_profile(session):
    made, _ = session()
    with pytest.raises(RunFailedError, match="no profile takes batch 17, it has 1:1:4,5:8:16"):
        made.run(np.zeros((17, 3, 2, 2), np.float32))
    assert profile_for(Batch.parse("1:1:8,1:8:16"), 7) == 1


def test_a_gpu_without_memory(session):
    made, _ = session(driver=FakeDriver(failing={"cuMemAlloc_v2": 2}))
    with pytest.raises(RunFailedError, match="cuMemAlloc_v2 answers 2"):
        made.run(np.zeros((1, 3, 2, 2), np.float32))


@pytest.mark.parametrize(
    ("function", "work"),
    [("cuStreamSynchronize", "run"), ("cuEventSynchronize", "time_ms"), ("cuMemAlloc_v2", "run")],
)
def test_a_fault_on_the_gpu_shows_where_it_is_waited_for(session, function, work):
    made, _ = session(batch="1:1:4", driver=FakeDriver(failing={function: 700}))
    with pytest.raises(RunFailedError, match=f"{function} answers 700"):
        getattr(made, work)(np.zeros((1, 3, 2, 2), np.float32))


def test_a_gpu_that_can_not_be_used(session):
    with pytest.raises(MissingError, match=r"can't be used: cuStreamCreate answers 2\.") as error:
        session(driver=FakeDriver(failing={"cuStreamCreate": 2}))
    assert not isinstance(error.value, NotHereError)


def test_an_engine_without_room_for_its_contexts(session, monkeypatch):
    with pytest.raises(BuildError, match="does not take its profile 1: cuStreamSynchronize"):
        session(driver=FakeDriver(failing={"cuStreamSynchronize": 2}))
    monkeypatch.setattr(Engine, "create_execution_context", lambda _: None)
    with pytest.raises(BuildError, match="no context for profile 0") as error:
        session()
    assert "free GPU memory" in error.value.fix


def test_a_stripped_engine_needs_its_graph(session, tmp_path):
    told = {"strip_weights": True, "graph_sha256": hashlib.sha256(b"graph").hexdigest()}
    with pytest.raises(RequestError, match=r"f\.engine\.onnx is not beside it"):
        session(**told)
    (tmp_path / "f.engine.onnx").write_bytes(b"another")
    with pytest.raises(RequestError, match=r"is not the graph that f\.engine was built of"):
        session(**told)
    (tmp_path / "f.engine.onnx").write_bytes(b"graph")
    calls = []
    library = Library()
    refitter = SimpleNamespace(refit_cuda_engine=lambda: calls.append("refit") or True)
    parser = SimpleNamespace(refit_from_file=lambda path: calls.append(path) or True)
    library.Refitter = lambda *_: refitter
    library.OnnxParserRefitter = lambda *_: parser
    session(library=library, **told)
    assert calls == [str(tmp_path / "f.engine.onnx"), "refit"]


@pytest.fixture
def finished(tmp_path, fashion):
    """What `trt` does with an engine that was accepted, whose inspector tells of `products`."""
    graph = fashion.path["onnx"]
    told = TOLD | {"passed_over": [], "precisions": {"fp16": 1}, "layers": 1, "validity": ""}
    told |= {"profiles": ["1:8:16"], "version": "10.3.0"}
    manifest = replace(read_manifest(open_artifact(graph), graph), engine=told, precision="fp16")

    def finish(products, **changes):
        path = tmp_path / "f.engine"
        write_sidecar(path, replace(manifest, engine=told | changes))
        (tmp_path / "f.engine.onnx").write_bytes(b"graph")
        notes = trt.finish(path, RunFacts(matmuls_by_dtype=products), {"save_onnx": False})
        return read_sidecar(path), notes

    return finish


def test_an_engine_that_ran(finished, tmp_path):
    manifest, notes = finished({"fp16": 7, "fp32": 2})
    assert manifest.engine_run
    assert manifest.engine["engine_precisions"] == {"fp16": 7, "fp32": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["f.engine.json"]
    assert notes[0].startswith("engine: TensorRT 10.3.0, for NVIDIA GeForce RTX 4090")
    assert "issues/4723" in notes[-1]


def test_what_to_do_about_a_rejected_engine(tmp_path, finished):
    """One that ran may be wrong where its graph is not, and then its version is the first clue."""
    finished({})
    kept = tmp_path / "f.engine"
    not_run, ran = RunFacts(not_run="no GPU here"), RunFacts()
    assert "--engine tensorrt" in trt.remedy(kept, ran)  # of torch-tensorrt there is no graph
    (tmp_path / "f.engine.onnx").write_bytes(b"graph")
    assert trt.remedy(kept, not_run) == f"vit-export locate {kept}.onnx says where"
    told = trt.remedy(kept, ran)
    assert told.startswith(f"vit-export validate {kept}.onnx: if that is proven, TensorRT is wrong")
    assert "issues/4723" in told


class Inspected:
    """A session on an ONNX file that calls itself an engine with these matrix products."""

    def __init__(self, path, matmuls, **changes):
        session = open_artifact(path)
        self.runtime, self.run = session.runtime, session.run
        self.matmuls_by_dtype = lambda: matmuls
        manifest = replace(read_manifest(session, path), target="trt", **changes)
        self.manifest_json = manifest.to_json


def test_validate_warns_of_a_known_bad_version(fashion, monkeypatch):
    told = []

    def progress(stage):
        told.append(stage)
        return nullcontext()

    facts = {"kind": "tensorrt", "version": "10.3.0"}
    made = Inspected(fashion.path["onnx"], {}, engine=facts, engine_run=True)
    monkeypatch.setitem(BACKENDS, "onnx", replace(ONNX, open=lambda *_: made))
    vit_export.validate(fashion.path["onnx"], threads=1, progress=progress)
    assert "issues/4723" in told[0]


@pytest.mark.parametrize(
    ("products", "status"), [({"fp16": 9}, "PROVEN"), ({"fp32": 9}, "REJECTED"), ({}, "PROVEN")]
)
def test_what_an_engine_is_done_in_is_part_of_its_proof(fashion, monkeypatch, products, status):
    path = fashion.path["onnx"]
    facts = {"kind": "tensorrt", "version": "10.13.3.9"}
    made = Inspected(path, products, precision="fp16", engine=facts, engine_run=True)
    monkeypatch.setitem(BACKENDS, "onnx", replace(ONNX, open=lambda *_: made))
    verdict = vit_export.validate(path, threads=1)
    assert (verdict.status, verdict.products) == (status, products)
    told = ["it is not fp16: of its products 9 in fp32"] if status == "REJECTED" else []
    assert verdict.problems == told


def test_what_a_backend_finds_wrong_with_an_open_file_rejects_it(tmp_path, tiny_toml, monkeypatch):
    def find_problem(session, manifest):
        return [f"{session.runtime} says it is not {manifest.precision}"]

    monkeypatch.setitem(BACKENDS, "onnx", replace(ONNX, check_built=find_problem))
    out = tmp_path / "f.onnx"
    with pytest.raises(RejectedError, match=r"ONNX Runtime .* says it is not fp32"):
        vit_export.onnx(tiny_toml, out)
    assert (tmp_path / "f.onnx.rejected").exists()
    assert not out.exists()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotHereError("It will not load here: no GPU.", "", "no GPU"), "no GPU"),
        (MissingError("The GPU can't be used: cuStreamCreate answers 2.", ""), MissingError),
        (BuildError("The engine has no context for profile 0: why.", ""), BuildError),
    ],
)
def test_only_an_engine_for_elsewhere_has_a_stand_in(fashion, monkeypatch, error, outcome):
    """An engine that fails on the GPU it was built for is no engine that could not be run here."""
    graph = fashion.path["onnx"]

    def opened(path, _):
        if path != graph:
            raise error
        return open_artifact(path)

    def judged():
        stage = SimpleNamespace(file="f.engine", out="f.engine")
        target = SimpleNamespace(stand_in=lambda _: graph)
        exam = SimpleNamespace(run_artifact=lambda verdict, *_: verdict)
        return judging.judged(stage, target, None, (), exam, threads=1, progress=silent)

    monkeypatch.setattr(judging, "open_artifact", opened)
    monkeypatch.setattr(judging, "validate_artifact", lambda *_, not_run, progress: not_run)  # noqa: ARG005 its signature
    if isinstance(outcome, str):
        assert judged() == outcome
        return
    with pytest.raises(outcome):
        judged()


class TorchTensorrt:
    """torch_tensorrt: keywords of compile, and what save is given."""

    def __init__(self, refusal=""):
        self.refusal, self.calls, self.dynamo = refusal, {}, self

    def Input(self, **told):  # noqa: N802 as it is called there
        return told

    def compile(self, exported, *, arg_inputs, use_explicit_typing=False, **asked):
        if self.refusal:
            raise RuntimeError(self.refusal)
        self.calls["compile"] = asked | {"use_explicit_typing": use_explicit_typing}
        self.calls["inputs"] = arg_inputs
        return exported

    def save(self, _, path, *, output_format, arg_inputs):
        self.calls["save"] = (output_format, arg_inputs)
        Path(path).write_bytes(b"PK")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Builds a program of a tiny model with a fake of torch-tensorrt."""
    monkeypatch.setattr(trt_program, "DEVICE", "cpu")
    spec = tiny_spec()

    def build(library, precision="fp16", batch="1:2:4", **settings):
        manifest = SimpleNamespace(
            signature=spec.signature, batch=Batch.parse(batch), precision=precision
        )
        job = SimpleNamespace(manifest=manifest, lowered=lower(random_vit(spec, 0)))
        path = tmp_path / "f.engine"
        trt_program.build_program(job, path, library, Settings(**settings))
        return path

    return build


def test_a_program_of_torch_tensorrt(program):
    library = TorchTensorrt()
    path = program(library, workspace_mb=2, level=4, hardware="ampere-plus")
    assert path.read_bytes() == b"PK"
    asked = library.calls["compile"]
    assert asked["use_explicit_typing"]
    assert asked["disable_tf32"]
    assert asked["require_full_compilation"]
    assert (asked["workspace_size"], asked["optimization_level"]) == (2 * 2**20, 4)
    assert asked["hardware_compatible"]
    assert asked["autocast_low_precision_type"] == torch.float16
    assert torch.ops.aten.layer_norm.default in asked["autocast_excluded_ops"]
    (given,) = library.calls["inputs"]
    assert given["max_shape"] == (4, 3, 16, 24)
    assert library.calls["save"] == ("exported_program", [given])


@pytest.mark.parametrize("batch", ["1:1:4", "1:4:4", "2:2:3", "1", "4"])
def test_a_program_takes_every_range_of_batches(program, batch):
    """torch.export takes a size of 1 for a constant, and refuses the range then."""
    library = TorchTensorrt()
    program(library, batch=batch)
    sizes = [library.calls["inputs"][0][f"{name}_shape"][0] for name in ("min", "opt", "max")]
    asked = Batch.parse(batch)
    assert sizes == [asked.least, asked.usual, asked.most]


def test_a_program_in_fp32_has_no_autocast(program):
    library = TorchTensorrt()
    program(library, precision="fp32", batch="2")
    assert "enable_autocast" not in library.calls["compile"]


def test_what_torch_tensorrt_refuses(program):
    with pytest.raises(BuildError, match="no program: no converter"):
        program(TorchTensorrt("no converter\nfor that"))
    with pytest.raises(RequestError, match="one range of batches"):
        program(TorchTensorrt(), batch="1,4:8:8")


@pytest.mark.parametrize(
    ("asked", "settings", "told"),
    [
        ({"precision": "int8-static"}, {}, "no int8-static of ours"),
        ({"precision": "fp16", "io_fp16": True}, {}, "--io-fp16"),
        ({}, {"hardware": "same-capability"}, "no --hardware same-capability"),
    ],
)
def test_what_a_program_can_not_be(asked, settings, told):
    trt_program.check(QuantizationRequest(precision="fp16"), USUAL)
    with pytest.raises(RequestError, match=told):
        trt_program.check(QuantizationRequest(**asked), USUAL | settings)


def test_of_a_program_it_is_not_said_what_it_is_done_in(finished):
    """It would be {} in any case: the engines inside tell the names of their layers alone."""
    _, notes = finished({}, kind="torch", precisions={})
    told = "torch-tensorrt does not tell what products are done in"
    assert f"network: {told}; profiles: 1:8:16" in notes


def test_a_program_is_timed_by_the_clock_of_the_gpu(monkeypatch):
    events = []

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def record(self):
            events.append("record")

        def synchronize(self):
            events.append("synchronize")

        def elapsed_time(self, _):
            return 2.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(ExportedSession, "run", lambda *_: events.append("run"))
    made = object.__new__(ExportedSession)
    made.runtime = "torch-tensorrt"
    assert runner_of_session(made).time_ms(np.zeros(1, np.float32)) == 2.5
    assert events == ["record", "run", "record", "synchronize"]
