"""What an ONNX file contains, read without the package onnx: nodes, types of weights, data files.

The file is mapped into memory, and the numbers inside tensors are never touched. Field numbers are
those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vit_export.core.errors import RequestError
from vit_export.core.protobuf import Message

IR_VERSION, GRAPH, OPSET, METADATA, FUNCTION = 1, 7, 8, 14, 25
DOMAIN, VERSION = 1, 2
FUNCTION_NODE = 7
NODE, INITIALIZER = 1, 5
INPUT, OUTPUT, OPERATOR, ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, INTEGER, TENSOR, SUBGRAPH, SUBGRAPHS = 1, 3, 5, 6, 11
DTYPE, TENSOR_NAME, EXTERNAL_DATA = 2, 8, 13
KEY, VALUE = 1, 2


@dataclass(frozen=True)
class Tensor:
    """A stored tensor, without its numbers."""

    name: str
    dtype: int
    """A number of TensorProto.DataType."""
    data_file: str | None
    """Name of the file that holds the numbers; None if they are in the tensor."""


@dataclass(frozen=True)
class Node:
    """One call of an operator."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, int]
    """Attributes that are whole numbers, by name."""


@dataclass(frozen=True)
class OnnxContent:
    """All nodes and stored tensors of a file, those in subgraphs and functions too."""

    nodes: list[Node] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)


def read_content(path: Path) -> OnnxContent:
    """Return what the ONNX file at `path` contains.

    Raises:
        RequestError: the file is not intact.
    """
    content = OnnxContent()
    with _map(path) as model:
        for function in model.messages(FUNCTION):
            for node in function.messages(FUNCTION_NODE):
                _add_node(node, content)
        for graph in model.messages(GRAPH):
            _add_graph(graph, content)
    return content


def read_metadata(path: Path) -> dict[str, str]:
    """Return the entries of the metadata of the ONNX file at `path`.

    Raises:
        RequestError: the file is not intact.
    """
    with _map(path) as model:
        entries = model.messages(METADATA)
        return {_join_text(one, KEY): _join_text(one, VALUE) for one in entries}


def read_versions(path: Path) -> tuple[int, int]:
    """Return the IR version and the opset of standard operators of the ONNX file at `path`.

    A version that the file does not name is 0.

    Raises:
        RequestError: the file is not intact.
    """
    with _map(path) as model:
        opsets = [one for one in model.messages(OPSET) if not _join_text(one, DOMAIN)]
        return _find_integer(model, IR_VERSION), max(
            (_find_integer(o, VERSION) for o in opsets), default=0
        )


@contextmanager
def _map(path: Path) -> Iterator[Message]:
    """Yield an ONNX file as one message; raise RequestError where the block finds it damaged."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            yield Message(view, 0, len(view))
    except (ValueError, RecursionError):
        message = f"{path} is no intact ONNX file."
        raise RequestError(message, "copy it again, or export the model again.") from None


def _add_graph(graph: Message, content: OnnxContent) -> None:
    for node in graph.messages(NODE):
        _add_node(node, content)
    for tensor in graph.messages(INITIALIZER):
        content.tensors.append(_read_tensor(tensor))


def _add_node(node: Message, content: OnnxContent) -> None:
    """Add a node, its graphs, and its tensors: a Constant's tensor has the name of its output."""
    texts: dict[int, list[str]] = {INPUT: [], OUTPUT: [], OPERATOR: []}
    for number in texts:
        texts[number] = [one.text() for one in node.messages(number)]
    integers: dict[str, int] = {}
    for attribute in node.messages(ATTRIBUTE):
        name = _join_text(attribute, ATTRIBUTE_NAME)
        for number, value in attribute.fields():
            if number == INTEGER and isinstance(value, int):
                integers[name] = value
        for number in (SUBGRAPH, SUBGRAPHS):
            for graph in attribute.messages(number):
                _add_graph(graph, content)
        for tensor in attribute.messages(TENSOR):
            content.tensors.append(_read_tensor(tensor, name=texts[OUTPUT][0]))
    inputs, outputs = tuple(texts[INPUT]), tuple(texts[OUTPUT])
    content.nodes.append(Node("".join(texts[OPERATOR]), inputs, outputs, integers))


def _read_tensor(tensor: Message, name: str = "") -> Tensor:
    dtype, data_file = 0, None
    for number, value in tensor.fields():
        if number == DTYPE and isinstance(value, int):
            dtype = value
        elif number == TENSOR_NAME and isinstance(value, Message):
            name = value.text()
        elif number == EXTERNAL_DATA and isinstance(value, Message):
            key, location = (_join_text(value, one) for one in (KEY, VALUE))
            data_file = location if key == "location" else data_file
    return Tensor(name, dtype, data_file)


def _find_integer(message: Message, number: int) -> int:
    return next((v for n, v in message.fields() if n == number and isinstance(v, int)), 0)


def _join_text(message: Message, number: int) -> str:
    return "".join(one.text() for one in message.messages(number))
