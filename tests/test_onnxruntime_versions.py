"""Files that are too new for this ONNX Runtime: which version they need, and how to get it."""

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from support import FASHION, expect_error, run

from vit_export import MissingError, RequestError
from vit_export.backends.onnx import session
from vit_export.backends.onnx.session import OnnxSession

IMAGE = FASHION / "images" / "bag_1.png"
IR = "[ONNXRuntimeError] : 1 : FAIL : Load model from f.onnx failed:model.cc:179 Unsupported model "
IR += "IR version: {}, max supported IR version: {}\n"
OPSET = "[ONNXRuntimeError] : 1 : FAIL : Load model from f.onnx failed:model_load_utils.h:46 ONNX "
OPSET += "Runtime only *guarantees* support for models stamped with official released onnx opset "
OPSET += (
    "versions. Opset {} is under development and support for this is limited. Current official "
)
OPSET += "support for domain ai.onnx is till opset {}.\n"
INT4 = "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for "
INT4 += "DequantizeLinear(21) node with name 'd'"
REFUSALS = {
    "opset 20": ("1.16.3", OPSET.format(20, 19), 9, 20, "1.17"),
    "opset 21": ("1.17.3", IR.format(10, 9), 10, 21, "1.18"),
    "opset 22, IR first": ("1.17.3", IR.format(10, 9), 10, 22, "1.21"),
    "opset 22": ("1.20.1", OPSET.format(22, 21), 10, 22, "1.21"),
    "four bits": ("1.18.1", INT4, 10, 21, "1.19"),
}
"""What ONNX Runtime of that version says of such a file, and the first version that opens it."""


def stamp(source, path, ir_version, opset):
    """A copy of an ONNX file with other versions."""
    model = onnx.load(source)
    model.ir_version = ir_version
    model.opset_import[0].version = opset
    path.write_bytes(model.SerializeToString())
    return path


def write_four_bits(path):
    """A file with 4-bit weights, as far as its tensors go."""
    weight = helper.make_tensor("w", TensorProto.INT4, [2], [1, 2])
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["y"], name="d")]
    path.write_bytes(
        helper.make_model(helper.make_graph(nodes, "g", [], [], [weight])).SerializeToString()
    )
    return path


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_an_old_onnxruntime_is_named_with_the_version_to_install(
    tmp_path, fashion, monkeypatch, refusal
):
    installed, words, ir_version, opset, first = refusal
    path = tmp_path / "f.onnx"
    source = write_four_bits(path) if words is INT4 else fashion.path["onnx"]
    stamp(source, path, ir_version, opset)

    def refuse(*_):
        raise RuntimeError(words)

    monkeypatch.setattr(session, "open_inference_session", refuse)
    monkeypatch.setattr(onnxruntime, "__version__", installed)
    with pytest.raises(MissingError) as error:
        OnnxSession(path)
    message = f"{path} needs ONNX Runtime {first} or newer; here is {installed}."
    assert error.value.message == message
    assert error.value.fix == f"pip install -U 'onnxruntime>={first}'"


def test_another_reason_is_no_matter_of_versions(fashion, monkeypatch):
    def refuse(*_):
        raise RuntimeError("protobuf parsing failed")

    monkeypatch.setattr(session, "open_inference_session", refuse)
    reason = r"can't be opened by ONNX Runtime .*: protobuf parsing failed"
    with pytest.raises(RequestError, match=reason):
        OnnxSession(fashion.path["onnx"])


@pytest.mark.parametrize(("ir_version", "opset"), [(99, 20), (10, 99)])
def test_a_file_of_the_future(tmp_path, fashion, ir_version, opset):
    path = stamp(fashion.path["onnx"], tmp_path / "f.onnx", ir_version, opset)
    words = {
        "predict": (IMAGE,),
        "validate": (),
        "bench": (),
        "locate": (),
        "cpp": ("--out", "cpp"),
    }
    for command, rest in words.items():
        message = expect_error(command, path, *rest, exit_code=3, cwd=tmp_path)
        assert f"IR version {ir_version} and opset {opset}, too new for ONNX Runtime" in message
        assert "Fix: pip install -U onnxruntime" in message
    assert f"opset {opset}, IR {ir_version}" in run("inspect", path).stdout
