"""Writing a graph to its file tensor by tensor, without a second copy of the weights in memory.

ModelProto, GraphProto and TensorProto follow https://protobuf.dev/programming-guides/encoding: a
field is a key, a length and its bytes, and a message is its fields in any order. So the weights can
follow the rest of the graph, written straight from their tensors.
"""

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER
LENGTH_DELIMITED = 2
SEVEN_BITS = 0x7F
MORE_FOLLOWS = 0x80


def write_model(
    proto: onnx.ModelProto, weights: Mapping[str, ir.TensorProtocol], path: Path
) -> None:
    """Write `proto` to `path`, with `weights` as further initializers of its graph."""
    graph = proto.graph.SerializeToString(deterministic=True)
    headers = {name: _encode_header(name, tensor) for name, tensor in weights.items()}
    sizes = {name: len(header) + weights[name].nbytes for name, header in headers.items()}
    total = len(graph) + sum(len(_encode_key(INITIALIZER, size)) + size for size in sizes.values())
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    rest.ClearField("graph")
    with path.open("wb") as file:
        file.write(rest.SerializeToString(deterministic=True))
        file.write(_encode_key(GRAPH, total) + graph)
        for name, tensor in weights.items():
            file.write(_encode_key(INITIALIZER, sizes[name]) + headers[name])
            file.write(tensor.tobytes())


def _encode_header(name: str, tensor: ir.TensorProtocol) -> bytes:
    """Encode a TensorProto up to its values."""
    header = onnx.TensorProto(name=name, data_type=tensor.dtype, dims=tensor.shape.numpy())
    fields: bytes = header.SerializeToString(deterministic=True)
    return fields + _encode_key(RAW_DATA, tensor.nbytes)


def _encode_key(field: int, length: int) -> bytes:
    """Encode the key of a field and its length in bytes."""
    return _encode_varint(field << 3 | LENGTH_DELIMITED) + _encode_varint(length)


def _encode_varint(value: int) -> bytes:
    """Encode seven bits in a byte, the lowest first; the eighth bit says that more bytes follow."""
    encoded = bytearray()
    while value > SEVEN_BITS:
        encoded.append(value & SEVEN_BITS | MORE_FOLLOWS)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
