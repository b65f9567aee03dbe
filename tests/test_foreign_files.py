"""ONNX files of strangers, with our manifest or none, are refused in every command.

`tests/test_other_tools.py` judges those whose model the user names.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import FASHION, expect_error, run

IMAGE = FASHION / "images" / "bag_1.png"
COMMANDS = {
    "inspect": (),
    "predict": (IMAGE,),
    "validate": ("-q",),
    "locate": ("-q",),
    "cpp": ("--out", "project", "--force", "-q"),
}
PICTURE = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])
LOGITS = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
WEIGHT = numpy_helper.from_array(np.zeros((784, 10), np.float32), "w")
HALF = numpy_helper.from_array(np.zeros((784, 5), np.float32), "half")
CLASSIFY = [
    helper.make_node("Flatten", ["image"], ["f"], axis=1),
    helper.make_node("MatMul", ["f", "w"], ["logits"]),
]
CONSTANT = helper.make_node(
    "Constant", [], ["logits"], value=numpy_helper.from_array(np.zeros((1, 10), np.float32))
)
BOXES = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None)


def number(name: str, kind: int, shape: list[object] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


FOREIGN = {
    "two inputs": (
        [helper.make_node("Identity", ["other"], ["unused"]), *CLASSIFY],
        [PICTURE, number("other", TensorProto.FLOAT, [1])],
        [LOGITS],
    ),
    "no input": ([CONSTANT], [], [LOGITS]),
    "a detector": (
        [*CLASSIFY, helper.make_node("Identity", ["image"], ["boxes"])],
        [PICTURE],
        [LOGITS, BOXES],
    ),
    "other classes": (
        [CLASSIFY[0], helper.make_node("MatMul", ["f", "half"], ["logits"])],
        [PICTURE],
        [number("logits", TensorProto.FLOAT, ["batch", 5])],
    ),
    "tokens": (
        [helper.make_node("Identity", ["image"], ["logits"])],
        [PICTURE],
        [number("logits", TensorProto.FLOAT, ["batch", 1, 28, 28])],
    ),
    "text as input": ([CONSTANT], [number("image", TensorProto.STRING)], [LOGITS]),
    "text as answer": (
        [helper.make_node("Cast", ["image"], ["logits"], to=TensorProto.STRING)],
        [PICTURE],
        [number("logits", TensorProto.STRING)],
    ),
    "a sequence as answer": (
        [helper.make_node("SequenceConstruct", ["image"], ["logits"])],
        [PICTURE],
        [helper.make_tensor_sequence_value_info("logits", TensorProto.FLOAT, None)],
    ),
    "a single number": (
        [helper.make_node("ReduceSum", ["image"], ["logits"], keepdims=0)],
        [PICTURE],
        [number("logits", TensorProto.FLOAT, [])],
    ),
}
OTHER_SHAPE = {"other classes", "tokens", "a detector"}
"""Graphs of images and numbers: what they answer is not what our manifest says."""


@pytest.fixture
def write_foreign(fashion, tmp_path) -> Callable[..., Path]:
    """`write_foreign(name, claims=...)`: one of `FOREIGN`, with the manifest of the artifact."""

    def write_foreign(name: str, *, claims: bool) -> Path:
        nodes, inputs, outputs = FOREIGN[name]
        graph = helper.make_graph(nodes, "g", inputs, outputs, [WEIGHT, HALF])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        if claims:
            metadata = {
                one.key: one.value for one in onnx.load(fashion.path["onnx"]).metadata_props
            }
            helper.set_model_props(model, metadata)
        path = tmp_path / "foreign.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write_foreign


@pytest.mark.parametrize("claims", [True, False], ids=["our manifest", "no manifest"])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_graph_is_refused_in_every_command(write_foreign, tmp_path, name, claims):
    path = write_foreign(name, claims=claims)
    for command, options in (COMMANDS | {"bench": ("-q",)}).items():
        if command == "inspect":  # it reads the manifest, or describes the graph, and runs nothing
            assert run(command, path, exit_code=None).returncode in {0, 2}
            continue
        done = run(command, path, *options, exit_code=None, cwd=tmp_path)
        assert done.returncode == (4 if claims and name in OTHER_SHAPE else 2), done.stderr
        assert done.stderr.count("Fix: ") == 1
        assert ".." not in done.stderr.partition("Error: ")[2].partition("Fix: ")[0]


def test_a_foreign_graph_is_counted_by_its_inputs(write_foreign):
    message = expect_error("predict", write_foreign("two inputs", claims=False), IMAGE, exit_code=2)
    assert "has 2 inputs, and images need one" in message
