"""An ONNX graph that another tool wrote, as the model of an export: it runs, and it is read."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from vit_export.core.errors import BuildError, RequestError
from vit_export.model.opaque import OpaqueModule, Run
from vit_export.model.signature import Signature

DOUBLE, FLOAT = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT


def open_graph(path: Path, signature: Signature) -> OpaqueModule:
    """Return the module that a graph computes: in fp32 by ONNX Runtime, without optimizations.

    In fp64 onnx's own reference implementation of each operator computes it.

    Args:
        path: the ONNX file, which ONNX Runtime opens.
        signature: its inputs and outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed, names = signature.inputs[0].name, [one.name for one in signature.outputs]

    def run(images: npt.NDArray[Any]) -> Any:
        return session.run(names, {feed: images})

    digest = hashlib.sha256(onnx.load(path).SerializeToString(deterministic=True)).digest()
    return OpaqueModule(run, _make_exact(path, feed, names), digest)


def _make_exact(path: Path, feed: str, names: list[str]) -> Run:
    """Return the function that computes a graph in fp64, which is made when it is first called."""

    def run(images: npt.NDArray[Any]) -> Any:
        try:
            return evaluate(images)
        except Exception as error:  # noqa: BLE001 operators without a reference fail in any way
            reason = str(error).partition("\n")[0]
            message = f"onnx can't compute {path} in fp64, which shows its rounding: {reason}"
            fix = "export the module that it was made from, with --module or --weights."
            raise RequestError(message, fix) from None

    def evaluate(images: npt.NDArray[Any]) -> Any:
        from onnx.reference import ReferenceEvaluator

        if not evaluators:
            evaluators.append(partial(ReferenceEvaluator(_promote(onnx.load(path))).run, names))
        return evaluators[0]({feed: images})

    evaluators: list[Any] = []
    return run


def _promote(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph in fp64: its weights, its constants and its casts to fp32."""
    for tensor in model.graph.initializer:
        _promote_tensor(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _promote_tensor(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = DOUBLE
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = DOUBLE
    del model.graph.value_info[:]
    return model


def _promote_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == FLOAT:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def read_graph(path: Path, signature: Signature, opset: int) -> ir.Model:
    """Return the graph of a file at `opset`, whose inputs and outputs have those shapes.

    Raises:
        BuildError: the graph can't be converted to that opset.
    """
    proto = _convert(onnx.load(path), path, opset)
    del proto.graph.value_info[:]  # they name the free dimension in words of their own
    model: ir.Model = ir.from_proto(proto)
    shapes = {one.name: one.shape for one in (*signature.inputs, *signature.outputs)}
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.name in shapes:
            value.shape = ir.Shape(shapes[value.name])
    for number, node in enumerate(model.graph):
        node.name = node.name or f"node_{number}/{node.op_type}"
    return model


def _convert(proto: onnx.ModelProto, path: Path, opset: int) -> onnx.ModelProto:
    from onnx import version_converter

    current = next((one.version for one in proto.opset_import if not one.domain), 0)
    if current == opset:
        return proto
    try:
        return version_converter.convert_version(proto, opset)
    except Exception as error:  # noqa: BLE001 onnx raises whatever its C++ core throws
        reason = str(error).partition("\n")[0]
        message = f"{path} has opset {current}, and onnx can't convert it to {opset}: {reason}."
        raise BuildError(message, f"take --opset {current}, or export it afresh.") from None
