"""What the manifest keeps of an engine, and why an engine will not load on a machine."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_tensorrt import Library

from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.session import NotHereError
from vit_export.backends.tensorrt import compatibility
from vit_export.backends.tensorrt.compatibility import REASONS, check_loads, describe_validity
from vit_export.backends.tensorrt.cuda import Gpu
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.inspector import count_matmuls, find_wrong_matmuls
from vit_export.backends.tensorrt.network import check_arithmetic
from vit_export.backends.tensorrt.sidecar import read_sidecar, sidecar_path, write_sidecar
from vit_export.backends.tensorrt.variants import find_variant
from vit_export.core.errors import MissingError, ProofError, RequestError

ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9")
CONTENT = b"\0trt" + bytes(60)
ENGINE = {
    "kind": "tensorrt",
    "version": "10.13.3.9",
    "gpu": {"name": ADA.name, "capability": "8.9"},
    "capabilities": [],
    "hardware": "none",
    "version_compatible": False,
    "strip_weights": False,
    "refit": False,
    "profiles": ["1:8:16"],
    "passed_over": [],
    "layers": 12,
    "precisions": {"fp32": 9},
    "inputs and outputs": [
        {"name": "image", "mode": "input", "dtype": "fp32", "shape": [-1, 3, 16, 24]}
    ],
    "graph_sha256": "0" * 64,
    "validity": "",
    "size_bytes": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "engine_precisions": {"fp32": 7},
}
"""`engine` of a manifest, with every key."""


def test_the_record_of_an_engine_comes_back_whole():
    assert json.loads(json.dumps(EngineInfo.from_mapping(ENGINE, "f").to_mapping())) == ENGINE
    before = {"kind": "rtx", "version": "1.2", "gpu": None}
    record = EngineInfo.from_mapping(before, "f").to_mapping()
    assert record["gpu"] is None
    later = {"layers", "precisions", "sha256", "validity"}  # known when it is built
    assert not later & record.keys()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "tensorflow"),
        ("version", 10),
        ("gpu", {"name": "RTX"}),
        ("capabilities", "8.9"),
        ("profiles", [1]),
        ("layers", -1),
        ("layers", 1.5),
        ("precisions", {"fp32": "nine"}),
        ("inputs and outputs", [{"name": "image"}]),
        ("size_bytes", "64"),
        ("strip_weights", "yes"),
        ("colour", "red"),
    ],
)
def test_a_wrong_field_is_named(key, value):
    with pytest.raises(RequestError, match=rf"f\.json: engine\.{key}") as error:
        EngineInfo.from_mapping(ENGINE | {key: value}, "f.json")
    assert error.value.exit_code == 2


@pytest.mark.parametrize("key", ["kind", "version"])
def test_a_missing_field_is_named(key):
    rest = {name: value for name, value in ENGINE.items() if name != key}
    with pytest.raises(RequestError, match=rf"engine\.{key} is missing"):
        EngineInfo.from_mapping(rest, "f.json")


@pytest.mark.parametrize("key", ["sha256", "size_bytes"])
def test_a_manifest_without_the_facts_of_its_file_is_refused(tmp_path, fashion, key):
    graph = fashion.path["onnx"]
    rest = {name: value for name, value in ENGINE.items() if name != key}
    write_sidecar(
        tmp_path / "f.engine", replace(read_manifest(open_artifact(graph), graph), engine=rest)
    )
    with pytest.raises(RequestError, match=rf"engine\.{key} is missing") as error:
        read_sidecar(tmp_path / "f.engine")
    assert "copy the one that belongs to it" in error.value.fix
    assert sidecar_path(tmp_path / "f.engine").name == "f.engine.json"


@pytest.fixture
def load(monkeypatch, tmp_path):
    """`load(gpu=..., version=..., **fields)`: check an engine on such a machine."""
    path = tmp_path / "f.engine"
    path.write_bytes(CONTENT)

    def load(gpu=ADA, version="10.13.3.9", **fields):
        library = SimpleNamespace(__version__=version)
        monkeypatch.setattr(compatibility, "find_gpu", lambda: gpu)
        monkeypatch.setattr(compatibility, "load_library", lambda _: library)
        info = EngineInfo.from_mapping(ENGINE | fields, str(path))
        return check_loads(path, info, find_variant(info))

    load.path = path
    return load


def test_an_engine_that_loads(load):
    assert load().__version__ == "10.13.3.9"
    assert load(version="10.14.0", version_compatible=True)
    assert load(gpu=Gpu("L4", "9.0"), hardware="ampere-plus")
    assert load(kind="rtx", gpu=Gpu("RTX 5090", "12.0"))
    assert load(kind="rtx", capabilities=["8.9"])


@pytest.mark.parametrize(
    ("here", "reason"),
    [
        ({"version": "10.14.0"}, "was built by TensorRT 10.13.3.9, and 10.14.0 is here"),
        ({"version": "11.0.0", "version_compatible": True}, "11.0.0 is here"),
        ({"version": "10.9", "version_compatible": True}, "10.9 is here"),
        ({"gpu": Gpu("A100", "8.0")}, "is for compute capability 8.9, and here is a A100"),
        ({"gpu": Gpu("RTX 2080", "7.5"), "kind": "rtx"}, r"12\.0, 12\.1, and here is a RTX 2080"),
        (
            {"gpu": Gpu("H200", "9.0"), "kind": "rtx"},
            r"compiles for .*12\.1, and here is a H200 of 9",
        ),
        ({"gpu": Gpu("B200", "10.0"), "kind": "rtx"}, r"compiles for .* here is a B200 of 10\.0"),
        ({"gpu": Gpu("H200", "9.0"), "kind": "rtx", "capabilities": ["9.0"]}, "H200 of 9"),
        ({"gpu": Gpu("RTX 2080", "7.5"), "hardware": "ampere-plus"}, "8.0 and later"),
        ({"capabilities": ["12.0"], "kind": "rtx"}, "is for compute capability 12.0"),
        ({"gpu": None}, "not checkable here: no GPU here"),
    ],
)
def test_an_engine_that_will_not_load(load, here, reason):
    with pytest.raises(NotHereError, match=reason) as error:
        load(**here)
    assert error.value.exit_code == 3
    assert error.value.reason in error.value.message


@pytest.mark.parametrize("content", [b"another" + CONTENT, CONTENT[::-1]])
def test_an_export_that_was_killed_between_manifest_and_engine_is_recognized(load, content):
    load.path.write_bytes(content)
    with pytest.raises(RequestError, match=r"another file|damaged"):
        load()
    load.path.with_name(f".{load.path.name}.abcd1234.partial").mkdir()
    with pytest.raises(RequestError, match="was being replaced when its export ended") as error:
        load()
    assert "export it again" in error.value.fix


def test_an_engine_whose_library_is_not_installed(load, monkeypatch):
    def missing(_):
        raise MissingError("TensorRT: not installed.", "")

    load()
    monkeypatch.setattr(compatibility, "load_library", missing)
    info = EngineInfo.from_mapping(ENGINE, "f")
    with pytest.raises(NotHereError, match=r"needs TensorRT 10\.13\.3\.9: .*not installed"):
        check_loads(load.path, info, find_variant(info))


def test_a_damaged_engine_is_noticed_before_anybody_looks_for_a_gpu(load):
    load.path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(RequestError, match="damaged"):
        load(gpu=None)


def test_a_file_of_another_size(load):
    load.path.write_bytes(CONTENT[:40])
    with pytest.raises(RequestError, match="is cut off: it has 40 bytes, and 64 were written"):
        load()
    load.path.write_bytes(CONTENT + b"more")
    with pytest.raises(RequestError, match="another file"):
        load()


@pytest.mark.parametrize(
    ("name", "reasons", "sentence"),
    [
        ("VALID", 0, "valid"),
        ("INVALID", 0, "not checkable here"),
        ("INVALID", 3, "invalid: version_mismatch, unsupported_cc"),
        ("INVALID", 64, "not checkable here"),
    ],
)
def test_what_the_validity_api_says(name, reasons, sentence):
    library = Library()
    bits = {reason: 1 << i for i, reason in enumerate(REASONS)}
    library.EngineInvalidityDiagnostics = SimpleNamespace(**bits)
    answer = SimpleNamespace(name=name), reasons
    library.Runtime = lambda _: SimpleNamespace(get_engine_validity=lambda _: answer)
    assert describe_validity(library, b"") == sentence
    library.Runtime = lambda _: SimpleNamespace()
    assert describe_validity(library, b"") == ""


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


def test_the_inspector_reports_the_arithmetic_of_products():
    assert count_matmuls(json.dumps(INSPECTED)) == {"fp16": 2}
    for document in ("", "[]", "{}", '{"Layers": ["a", "b"]}'):
        assert count_matmuls(document) == {}


@pytest.mark.parametrize(
    ("matmuls", "precision"),
    [
        ({}, "fp16"),  # names alone prove nothing, and refute nothing
        ({"unknown": 9}, "fp16"),
        ({"fp16": 1, "unknown": 9}, "fp16"),
        ({"fp32": 4, "int8": 5}, "int8-static"),
        ({"fp32": 1}, "weights-int8"),
        ({"int8": 1}, "weights-int8"),
    ],
)
def test_products_that_fit_the_precision(matmuls, precision):
    assert find_wrong_matmuls(matmuls, precision) == ""


@pytest.mark.parametrize(
    ("matmuls", "counts"), [({"fp32": 9}, "9 in fp32"), ({"fp32": 9, "fp16": 1}, "1 in fp16")]
)
def test_products_that_do_not(matmuls, counts):
    """The share is that of the parsed network."""
    problem = find_wrong_matmuls(matmuls, "fp16")
    assert problem.startswith("it is not fp16: of its matmuls 9 in fp32")
    assert counts in problem
    with pytest.raises(ProofError, match="is not fp16"):
        check_arithmetic(matmuls, "fp16")
