"""The network that TensorRT's parser reads from an ONNX graph, and the dtypes of its matmuls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vit_export.artifact.precision import find_wrong_arithmetic
from vit_export.backends.tensorrt.engine_info import EngineTensor
from vit_export.backends.tensorrt.logger import last_error
from vit_export.core.errors import BuildError, ProofError

MATMULS = {"MATRIX_MULTIPLY", "CONVOLUTION"}
"""The layers that are counted."""
TRANSPARENT = {"SHUFFLE", "SQUEEZE", "UNSQUEEZE", "CAST"}
"""Layers between a dequantized tensor and its matmul that change only its shape or dtype."""
ARITHMETIC = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "INT4": "int4"}
"""Our names of dtypes, by the names of TensorRT's DataType."""


def parse(library: Any, network: Any, path: Path, logger: Any, flavour: str) -> None:
    """Fill `network` from the ONNX file at `path`, whose weights may stand beside it.

    Raises:
        BuildError: the parser refuses, with the node and its module where it names one.
    """
    parser = library.OnnxParser(network, logger)
    if parser.parse_from_file(str(path)):
        return
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    raise BuildError(*_explain_refusal(errors, logger, flavour))


def _explain_refusal(errors: Sequence[Any], logger: Any, flavour: str) -> tuple[str, str]:
    """Return what is wrong, and what to do about it."""
    fix = "report this with the model's spec."
    if flavour != "tensorrt":
        fix = f"leave out --for {flavour}: --for tensorrt avoids it."
    if not errors:
        return f"TensorRT's parser refuses the graph: {last_error(logger)}.", fix
    error = errors[0]
    reason = str(error.desc()).partition("\n")[0].strip().rstrip(".")
    node, operator = str(error.node_name()), str(error.node_operator())
    module = node.rpartition("/")[0]
    inside = f" of the module {module}" if module else ""
    where = f"node {node or error.node()} ({operator or 'unknown operator'}){inside}"
    return f"TensorRT's parser refuses {where}: {reason}.", fix


def count_matmuls(network: Any) -> dict[str, int]:
    """Return the number of matmuls and convolutions by arithmetic, the most frequent first.

    The arithmetic has the names of `artifact.precision.PRECISIONS`: `fp32 x int8` for a matmul in
    fp32 whose weights are stored in int8.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    producers = {
        layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)
    }
    matmuls = [layer for layer in layers if layer.type.name in MATMULS]
    return dict(Counter(_arithmetic(layer, producers) for layer in matmuls).most_common())


def _arithmetic(layer: Any, producers: Mapping[str, Any]) -> str:
    dtype = _our_name(layer.get_output(0).dtype)
    inputs = [layer.get_input(i) for i in range(layer.num_inputs)][:2]
    integers = [_stored_integer(tensor, producers) for tensor in inputs if tensor is not None]
    if len(integers) > 1 and all(integers):
        return integers[0]
    return f"{dtype} x {integers[-1]}" if integers and integers[-1] else dtype


def _stored_integer(tensor: Any, producers: Mapping[str, Any]) -> str:
    """Return the integer dtype that a tensor is dequantized from; empty if it is not."""
    layer = producers.get(tensor.name)
    while layer is not None and layer.type.name in TRANSPARENT:
        layer = producers.get(layer.get_input(0).name)
    if layer is None or layer.type.name != "DEQUANTIZE":
        return ""
    return _our_name(layer.get_input(0).dtype)


def _our_name(dtype: Any) -> str:
    return ARITHMETIC.get(dtype.name, str(dtype.name).lower())


def check_arithmetic(matmuls: Mapping[str, int], precision: str) -> None:
    """Raise ProofError unless most matmuls of a network have the arithmetic of `precision`."""
    problem = find_wrong_arithmetic(matmuls, precision, unit="matmuls")
    if problem is not None:
        message = f"the network that TensorRT reads {problem}."
        raise ProofError(message, "report this with the model's spec and the version of TensorRT.")


def describe_tensors(network: Any) -> tuple[EngineTensor, ...]:
    """Return the inputs and outputs of a network."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    return (
        *(_describe_tensor(tensor, "input") for tensor in inputs),
        *(_describe_tensor(tensor, "output") for tensor in outputs),
    )


def _describe_tensor(tensor: Any, mode: Literal["input", "output"]) -> EngineTensor:
    shape = tuple(int(length) for length in tensor.shape)
    return EngineTensor(name=tensor.name, mode=mode, dtype=_our_name(tensor.dtype), shape=shape)
