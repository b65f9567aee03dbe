"""The network that TensorRT's parser makes of an ONNX graph, and what its products are done in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.artifact.precision import find_wrong_arithmetic
from vit_export.backends.tensorrt.logger import last_error
from vit_export.core.errors import BuildError, ProofError

PRODUCTS = {"MATRIX_MULTIPLY", "CONVOLUTION"}
THROUGH = {"SHUFFLE", "SQUEEZE", "UNSQUEEZE", "CAST"}
"""Layers that only rename axes or types between a dequantized number and its product."""
ARITHMETIC = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "INT4": "int4"}
"""By the name of a DataType."""


def parse(library: Any, network: Any, path: Path, log: Any, flavour: str) -> None:
    """Fills `network` from the file at `path`; by path, so that weights may lie beside it.

    Raises:
        BuildError: the parser refuses, with the node and its module where it names one.
    """
    parser = library.OnnxParser(network, log)
    if parser.parse_from_file(str(path)):
        return
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    raise BuildError(*_refusal(errors, log, flavour))


def _refusal(errors: Sequence[Any], log: Any, flavour: str) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    avoid = "report this with the model's spec."
    if flavour != "tensorrt":
        avoid = f"leave out --for {flavour}: --for tensorrt avoids it."
    if not errors:
        return f"TensorRT's parser refuses the graph: {last_error(log)}.", avoid
    error = errors[0]
    reason = str(error.desc()).partition("\n")[0].strip().rstrip(".")
    node, operator = str(error.node_name()), str(error.node_operator())
    module = node.rpartition("/")[0]
    inside = f" of the module {module}" if module else ""
    where = f"node {node or error.node()} ({operator or 'unknown operator'}){inside}"
    return f"TensorRT's parser refuses {where}: {reason}.", avoid


def census(network: Any) -> dict[str, int]:
    """Products by arithmetic, the most frequent first, in the words of `cost.macs_by_dtype`."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    made = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    products = [layer for layer in layers if layer.type.name in PRODUCTS]
    return dict(Counter(_arithmetic(layer, made) for layer in products).most_common())


def _arithmetic(layer: Any, made: Mapping[str, Any]) -> str:
    kind = _name(layer.get_output(0).dtype)
    inputs = [layer.get_input(i) for i in range(layer.num_inputs)][:2]
    whole = [_restored(tensor, made) for tensor in inputs if tensor is not None]
    if len(whole) > 1 and all(whole):
        return whole[0]
    return f"{kind} x {whole[-1]}" if whole and whole[-1] else kind


def _restored(tensor: Any, made: Mapping[str, Any]) -> str:
    """The whole numbers that a tensor was restored from; empty where it was not."""
    layer = made.get(tensor.name)
    while layer is not None and layer.type.name in THROUGH:
        layer = made.get(layer.get_input(0).name)
    if layer is None or layer.type.name != "DEQUANTIZE":
        return ""
    return _name(layer.get_input(0).dtype)


def _name(dtype: Any) -> str:
    return ARITHMETIC.get(dtype.name, str(dtype.name).lower())


def check_census(counts: Mapping[str, int], precision: str, what: str) -> None:
    """Nothing, when most products of `what` are done as `precision` says.

    Raises:
        ProofError: they are not.
    """
    problem = find_wrong_arithmetic(counts, precision, unit="products")
    if problem is not None:
        fix = "report this with the model's spec and the version of TensorRT."
        raise ProofError(f"{what} {problem}.", fix)


def ends_of(network: Any) -> list[dict[str, Any]]:
    """Inputs and outputs: name, mode, type and shape, -1 for what a profile gives."""
    inputs = [("input", network.get_input(i)) for i in range(network.num_inputs)]
    outputs = [("output", network.get_output(i)) for i in range(network.num_outputs)]
    return [
        {"name": t.name, "mode": mode, "dtype": _name(t.dtype), "shape": [int(n) for n in t.shape]}
        for mode, t in (*inputs, *outputs)
    ]
