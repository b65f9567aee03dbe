"""An engine on a GPU, with a fake of its driver: answers, clock, faults, and what follows."""

import hashlib
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_cuda import FakeDriver
from fake_tensorrt import Engine, Library
from test_trt_loading import ADA, CONTENT, ENGINE

import vit_export
from vit_export.artifact.batch import Batch
from vit_export.backends import BACKENDS
from vit_export.backends.onnx.backend import ONNX
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.records import RunFacts
from vit_export.backends.session import NotHereError, RunFailedError
from vit_export.backends.tensorrt import session as session_module
from vit_export.backends.tensorrt.backend import TENSORRT
from vit_export.backends.tensorrt.cuda import Device, DriverError, read_gpu
from vit_export.backends.tensorrt.session import EngineSession, find_profile
from vit_export.backends.tensorrt.sidecar import read_sidecar, write_sidecar
from vit_export.bench.candidates import GPU, Candidate
from vit_export.bench.roofline import choose_gemm_kinds
from vit_export.bench.runners import wrap_session
from vit_export.core.errors import BuildError, MissingError, RequestError


def test_a_gpu_is_found_through_its_driver():
    assert read_gpu(FakeDriver()) == ADA
    with pytest.raises(DriverError, match="cuDeviceGet answers 100"):
        read_gpu(FakeDriver(failing={"cuDeviceGet": 100}))


def test_memory_on_a_device():
    driver = FakeDriver()
    device = Device(driver)
    assert device.stream == 77
    first = device.allocate("image", 64)
    assert device.allocate("image", 16) == first
    assert device.allocate("image", 128) != first
    assert driver.freed == [first]
    source, copy = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    address = device.allocate("logits", source.nbytes)
    device.write(address, source)
    device.read(address, copy)
    device.wait()
    assert copy.tolist() == source.tolist()
    assert device.elapsed_ms(device.record_event(), device.record_event()) == 1.5


@pytest.fixture
def open_engine(tmp_path, monkeypatch):
    """`open_engine(...)`: a session on the fake engine with two profiles, and its library."""

    def open_engine(batch="1:1:4,5:8:16", driver=None, library=None, **fields):
        path = tmp_path / "f.engine"
        path.write_bytes(CONTENT)
        library, driver = library or Library(), driver or FakeDriver()
        runtime = SimpleNamespace(deserialize_cuda_engine=lambda _: Engine(library, driver))
        library.Runtime = lambda _: runtime
        monkeypatch.setattr(session_module, "Device", lambda: Device(driver))
        manifest = SimpleNamespace(
            engine=ENGINE | fields, batch=Batch.parse(batch), to_json=lambda: "{}"
        )
        return EngineSession(path, library, manifest), library

    return open_engine


def images_of(batch):
    return np.zeros((batch, 3, 2, 2), np.float32)


def test_an_engine_answers_in_the_profile_that_fits(open_engine):
    session, library = open_engine()
    for size, profile in ((1, 0), (4, 0), (5, 1), (16, 1)):
        images = np.random.default_rng(size).standard_normal((size, 3, 2, 2), np.float32)
        answers = session.run(images)
        np.testing.assert_allclose(answers[:, 0], 2 * images.sum(axis=(1, 2, 3)), rtol=1e-5)
        assert library.calls[-1] == ("execute_async_v3", profile, 77)
    assert ("set_optimization_profile_async", 1, 77) in library.calls
    assert session.matmuls_by_dtype() == {"fp16": 1}
    assert session.manifest_json() == "{}"
    assert not session.takes_fp16


def test_a_bench_uses_the_clock_of_the_gpu(open_engine):
    session, _ = open_engine()
    assert session.time_ms(images_of(1)) == 1.5
    assert wrap_session(session).time_ms(images_of(1)) == 1.5
    candidate = Candidate(name="f", kind="artifact", arithmetic=GPU)
    assert choose_gemm_kinds([candidate]) == [("fp32", "onnxruntime")]


def test_a_batch_outside_of_every_profile(open_engine):
    session, _ = open_engine()
    with pytest.raises(RunFailedError, match="no profile takes batch 17: it has 1:1:4,5:8:16"):
        session.run(images_of(17))
    assert find_profile(Batch.parse("1:1:8,1:8:16"), 7) == 1


@pytest.mark.parametrize(
    ("function", "method"),
    [
        ("cuStreamSynchronize", "run"),
        ("cuEventSynchronize", "time_ms"),
        ("cuMemAlloc_v2", "run"),
    ],
)
def test_a_fault_on_the_gpu_shows_where_one_waits_for_it(open_engine, function, method):
    session, _ = open_engine(batch="1:1:4", driver=FakeDriver(failing={function: 700}))
    with pytest.raises(RunFailedError, match=f"{function} answers 700"):
        getattr(session, method)(images_of(1))


def test_a_gpu_that_cannot_be_used(open_engine):
    with pytest.raises(MissingError, match=r"can't be used: cuStreamCreate answers 2\.") as error:
        open_engine(driver=FakeDriver(failing={"cuStreamCreate": 2}))
    assert not isinstance(error.value, NotHereError)


def test_an_engine_without_memory_for_its_contexts(open_engine, monkeypatch):
    with pytest.raises(BuildError, match="does not take its profile 1: cuStreamSynchronize"):
        open_engine(driver=FakeDriver(failing={"cuStreamSynchronize": 2}))
    monkeypatch.setattr(Engine, "create_execution_context", lambda _: None)
    with pytest.raises(BuildError, match="no context for profile 0") as error:
        open_engine()
    assert "free GPU memory" in error.value.fix


def test_a_stripped_engine_needs_its_graph(open_engine, tmp_path):
    fields = {"strip_weights": True, "graph_sha256": hashlib.sha256(b"graph").hexdigest()}
    graph = tmp_path / "f.engine.onnx"
    with pytest.raises(RequestError, match=r"f\.engine\.onnx is not beside it"):
        open_engine(**fields)
    graph.write_bytes(b"another")
    with pytest.raises(RequestError, match=r"is not the graph that f\.engine was built from"):
        open_engine(**fields)
    graph.write_bytes(b"graph")
    calls = []
    library = Library()
    refitter = SimpleNamespace(refit_cuda_engine=lambda: calls.append("refit") or True)
    parser = SimpleNamespace(refit_from_file=lambda path: calls.append(path) or True)
    library.Refitter = lambda *_: refitter
    library.OnnxParserRefitter = lambda *_: parser
    open_engine(library=library, **fields)
    assert calls == [str(graph), "refit"]


@pytest.fixture
def finish(tmp_path, fashion):
    """`finish(matmuls, **fields)`: an engine that ran, with its manifest and notes."""
    graph = fashion.path["onnx"]
    before = {name: value for name, value in ENGINE.items() if name != "engine_precisions"}
    before |= {"version": "10.3.0", "precisions": {"fp16": 1}}
    manifest = replace(read_manifest(open_artifact(graph), graph), precision="fp16")

    def finish(matmuls, **fields):
        path = tmp_path / "f.engine"
        write_sidecar(path, replace(manifest, engine=before | fields))
        (tmp_path / "f.engine.onnx").write_bytes(b"graph")
        notes = TENSORRT.finish(path, RunFacts(matmuls_by_dtype=matmuls), {"save_onnx": False})
        return read_sidecar(path), notes

    return finish


def test_an_engine_that_ran(finish, tmp_path):
    manifest, notes = finish({"fp16": 7, "fp32": 2})
    assert manifest.engine_run
    assert manifest.engine["engine_precisions"] == {"fp16": 7, "fp32": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["f.engine.json"]
    assert notes[0].startswith("engine: TensorRT 10.3.0, for NVIDIA GeForce RTX 4090")
    assert "issues/4723" in notes[-1]


def test_the_network_of_a_program_is_unknown(finish):
    """Its record holds {}: the engines inside name their layers only."""
    _, notes = finish({}, kind="torch", precisions={})
    (network,) = [note for note in notes if note.startswith("network: ")]
    assert "torch-tensorrt does not report" in network
    assert network.endswith("profiles: 1:8:16")


def test_what_to_do_about_a_rejected_engine(tmp_path, finish):
    """An engine that ran may be wrong where its graph is right; its version is the first clue."""
    finish({})
    kept = tmp_path / "f.engine"
    assert "--engine tensorrt" in TENSORRT.remedy(kept, RunFacts())  # torch-tensorrt has no graph
    (tmp_path / "f.engine.onnx").write_bytes(b"graph")
    remedy = TENSORRT.remedy(kept, RunFacts(not_run="no GPU here"))
    assert remedy == f"vit-export locate {kept}.onnx says where"
    remedy = TENSORRT.remedy(kept, RunFacts())
    assert remedy.startswith(f"vit-export validate {kept}.onnx: if that is proven, TensorRT")
    assert "issues/4723" in remedy


def test_a_rejected_bf16_graph_is_the_one_that_a_cpu_runs(tmp_path):
    """Its twin in fp32 takes its name, and its own weights go."""
    for name in ("f.engine", "f.engine.onnx", "f.engine.fp32.onnx"):
        (tmp_path / name).write_text(name)
    weights = [tmp_path / f"f.engine{kind}.onnx.{'0' * 12}.data" for kind in ("", ".fp32")]
    for path in weights:
        path.write_text("weights")
    TENSORRT.keep_rejected(tmp_path / "f.engine")
    assert (tmp_path / "f.engine.onnx").read_text() == "f.engine.fp32.onnx"
    assert {path.name for path in tmp_path.iterdir()} == {
        "f.engine",
        "f.engine.onnx",
        weights[1].name,  # the twin refers to it by name
    }


class EngineInDisguise:
    """A session on an ONNX file whose manifest is an engine's, with these matrix products."""

    def __init__(self, path, matmuls, **changes):
        session = open_artifact(path)
        self.runtime, self.run = session.runtime, session.run
        self.matmuls_by_dtype = lambda: matmuls
        manifest = replace(read_manifest(session, path), target="trt", engine_run=True, **changes)
        self.manifest_json = manifest.to_json


@pytest.fixture
def disguise(fashion, monkeypatch):
    """`disguise(matmuls, ...)`: the path of an artifact that opens as such a session."""
    path = fashion.path["onnx"]

    def disguise(matmuls, version="10.13.3.9", **changes):
        engine = ENGINE | {"version": version}
        session = EngineInDisguise(path, matmuls, engine=engine, **changes)
        opened = replace(ONNX, name="trt", open=lambda *_: session, find_precisions=lambda _: None)
        monkeypatch.setitem(BACKENDS, "onnx", opened)
        return path

    return disguise


def test_validate_warns_of_a_known_bad_version(disguise):
    stages = []

    def progress(stage):
        stages.append(stage)
        return nullcontext()

    vit_export.validate(disguise({}, version="10.3.0"), threads=1, progress=progress)
    assert "issues/4723" in stages[0]


@pytest.mark.parametrize(
    ("matmuls", "status"), [({"fp16": 9}, "PROVEN"), ({"fp32": 9}, "REJECTED"), ({}, "PROVEN")]
)
def test_the_arithmetic_of_an_engine_is_part_of_its_proof(disguise, matmuls, status):
    verdict = vit_export.validate(disguise(matmuls, precision="fp16"), threads=1)
    assert (verdict.status, verdict.products) == (status, matmuls)
    problems = ["it is not fp16: of its matmuls 9 in fp32"] if status == "REJECTED" else []
    assert verdict.problems == problems
    assert ("precision as claimed" in verdict.caveats) == (not matmuls)
