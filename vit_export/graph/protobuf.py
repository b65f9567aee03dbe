"""A graph written to its file tensor by tensor, never held as a second copy in memory.

ModelProto, GraphProto and TensorProto in the encoding of https://protobuf.dev/programming-guides/encoding:
a field is a key, a length and its bytes, and a message is its fields in any order. So the weights
can follow the rest of the graph, straight from the tensors that hold them.
"""

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

Weights = Mapping[str, ir.TensorProtocol]

GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER
LENGTH_DELIMITED = 2
SEVEN_BITS = 0x7F


def write_model(
    proto: onnx.ModelProto, weights: Mapping[str, ir.TensorProtocol], path: Path
) -> None:
    """Writes `proto` with `weights` as further initializers of its graph."""
    graph = proto.graph.SerializeToString(deterministic=True)
    heads = {name: _tensor_head(name, tensor) for name, tensor in weights.items()}
    sizes = {name: len(head) + weights[name].nbytes for name, head in heads.items()}
    total = len(graph) + sum(len(_key(INITIALIZER, size)) + size for size in sizes.values())
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    rest.ClearField("graph")
    with path.open("wb") as file:
        file.write(rest.SerializeToString(deterministic=True))
        file.write(_key(GRAPH, total) + graph)
        for name, tensor in weights.items():
            file.write(_key(INITIALIZER, sizes[name]) + heads[name])
            file.write(tensor.tobytes())


def _tensor_head(name: str, tensor: ir.TensorProtocol) -> bytes:
    """A TensorProto up to its values."""
    head = onnx.TensorProto(name=name, data_type=tensor.dtype, dims=tensor.shape.numpy())
    fields: bytes = head.SerializeToString(deterministic=True)
    return fields + _key(RAW_DATA, tensor.nbytes)


def _key(field: int, length: int) -> bytes:
    """The key of a field that is `length` bytes long, and that length."""
    return _varint(field << 3 | LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while value > SEVEN_BITS:
        encoded.append(value & SEVEN_BITS | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
