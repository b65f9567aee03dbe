"""A module of no known family as its own best graph, which runs with its layers in PyTorch.

Passes over the graph fold factors and norms into weights, take projections apart and pad them. So
the layers to quantize are those of the graph after these passes. They are modules here, so that
they can be observed, changed and replaced; ONNX Runtime computes what stands between them.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_export.graph.builder import read_constant
from vit_export.graph.expose_linears import expose_linears, name_layers
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.patterns import Attention, find_attentions, find_linears
from vit_export.graph.projections import has_one_reader, replace_constant
from vit_export.graph.roles import find_roles
from vit_export.graph.steps import Layer, Step, Stretch, list_last_reads, split_into_steps
from vit_export.graph.unfold_patches import unfold_patches
from vit_export.graph.weightless import hash_graph
from vit_export.model.fusions import ExpectedFusions
from vit_export.model.layered import LayeredModule, LayerRoles
from vit_export.model.vit.lowering.rewrites import make_linear


class GraphAttention(nn.Module):
    """softmax(q kᵀ + bias) v, (B, h, N, d); the bias is a constant, and there may be none."""

    def __init__(self, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The average of the values, (B, h, N, d)."""
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=self.bias, scale=1.0
        )


class LoweredGraph(LayeredModule):
    """Images (B, C, H, W) to the answer, as the graph computes it."""

    def __init__(
        self,
        model: ir.Model,
        counts: Mapping[str, int],
        fusions: ExpectedFusions | None = None,
        *,
        unfold: bool = False,
    ) -> None:
        """Take over a graph in fp32 after all passes, whose layers get names of their own.

        Args:
            model: the graph, which changes in place.
            counts: what `make_graph` counted.
            fusions: what should be fused in the graph; None if that is unknown.
            unfold: whether a convolution of patches becomes a linear layer, to be quantized.
        """
        super().__init__()
        self.counts, self.fusions = dict(counts), fusions
        if unfold:
            unfold_patches(model)
        expose_linears(model)
        infer_shapes(model)
        taken: set[str] = set()
        linears = _name(
            [one.node for one in find_linears(model.graph) if _is_plain(one.node)], taken
        )
        norms = _name([node for node in model.graph if _is_norm(node)], taken)
        attentions = _name_attentions(model, taken)
        self._model, self._sha256 = model, hash_graph(model)
        self._nodes = linears | norms
        self._roles = find_roles(model, linears, norms, attentions)
        folding = {one.norm for one in self._roles.norms}
        self._layers: dict[str, nn.Module] = {
            **{name: _make_linear(node) for name, node in linears.items()},
            **{name: _make_norm(node) for name, node in norms.items() if name in folding},
            **{name: GraphAttention(_tensor(one.bias)) for name, one in attentions.items()},
        }
        self._before = dict(self._layers)
        layers = [
            Layer(name, (self._nodes[name],), tuple(filter(None, self._nodes[name].inputs[:1])))
            for name in self._layers
            if name in self._nodes
        ]
        layers += [_make_attention(name, one) for name, one in attentions.items()]
        self._steps: list[Step] = split_into_steps(model, layers)
        self._answers = tuple(str(one.name) for one in model.graph.outputs)
        self._last_reads = list_last_reads(self._steps, self._answers)

    @property
    def roles(self) -> LayerRoles:
        """What each layer is for."""
        return self._roles

    @property
    def sha256(self) -> str:
        """The hash of the graph as it was before any layer changed."""
        return self._sha256

    def get_layer(self, name: str) -> nn.Module:
        """The layer of this name."""
        return self._layers[name]

    def set_layer(self, name: str, layer: nn.Module) -> None:
        """Put another layer in the place of the one of this name."""
        self._layers[name] = layer

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The answers (B, …) to images (B, C, H, W); a tuple of several outputs."""
        graph = self._model.graph
        values = {str(graph.inputs[0].name): images}
        for step, last in zip(self._steps, self._last_reads, strict=True):
            if isinstance(step, Stretch):
                arrays = {name: values[name].numpy() for name in step.inputs}
                values |= {n: torch.from_numpy(a) for n, a in step.run(arrays).items()}
            else:
                inputs = [values[str(value.name)] for value in step.inputs]
                values[str(step.output.name)] = self._run(step, inputs)
            for name in last:  # large images would fill the memory
                del values[name]
        answers = tuple(values[name] for name in self._answers)
        return answers if len(answers) > 1 else answers[0]

    def _run(self, step: Layer, inputs: list[Tensor]) -> Tensor:
        if len(inputs) > 1:  # keys are transposed in a graph: (B, h, d, N)
            inputs[1] = inputs[1].mT
        answer: Tensor = self._layers[step.name](*inputs)
        return answer

    def write_graph(self) -> ir.Model:
        """The graph, with the weights that the layers have now."""
        for name, layer in self._layers.items():
            if layer is not self._before[name]:
                weight, bias = cast("nn.Linear | nn.LayerNorm", layer).parameters()
                for index, tensor in enumerate((weight, bias), 1):
                    array = tensor.detach().numpy()
                    replace_constant(self._model.graph, self._nodes[name], index, array)
        self._before = dict(self._layers)
        return self._model


def _name(nodes: list[ir.Node], taken: set[str]) -> dict[str, ir.Node]:
    return dict(zip(name_layers(nodes, taken), nodes, strict=True))


def _name_attentions(model: ir.Model, taken: set[str]) -> dict[str, Attention]:
    """Return by name the attentions whose scores and weights nothing else reads."""
    attentions = [
        one
        for one in find_attentions(model.graph)
        if all(has_one_reader(node.outputs[0]) for node in _list_nodes(one)[:-1])
    ]
    names = name_layers([one.score_matmul for one in attentions], taken)
    return dict(zip(names, attentions, strict=True))


def _is_plain(gemm: ir.Node) -> bool:
    """Whether a Gemm scales none of its terms, and has a bias for each column."""
    scales = [gemm.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    bias, weight = read_constant(gemm.inputs[2]), read_constant(gemm.inputs[1])
    fits = bias is not None and weight is not None and bias.shape == weight.shape[:1]
    return fits and scales == [1.0, 1.0] and gemm.attributes.get_int("transA", 0) == 0


def _is_norm(node: ir.Node) -> bool:
    """Whether `node` is a LayerNormalization of the last axis with constant weights."""
    if node.op_type != "LayerNormalization" or len(node.inputs) != 3:  # noqa: PLR2004 input, scale, bias
        return False
    scale, bias = (read_constant(value) for value in node.inputs[1:])
    return scale is not None and bias is not None and scale.ndim == bias.ndim == 1


def _tensor(array: object) -> Tensor | None:
    return None if array is None else torch.from_numpy(np.require(array, np.float32, ["C", "W"]))


def _make_linear(node: ir.Node) -> nn.Linear:
    weight, bias = (_tensor(read_constant(value)) for value in node.inputs[1:])
    if weight is None:
        raise ValueError(f"{node.name} has no constant weight")
    return make_linear(weight, bias)


def _make_norm(node: ir.Node) -> nn.LayerNorm:
    scale, bias = (_tensor(read_constant(value)) for value in node.inputs[1:])
    if scale is None or bias is None:
        raise ValueError(f"{node.name} has no constant weights")
    norm = nn.LayerNorm(len(scale), eps=node.attributes.get_float("epsilon", 1e-5)).eval()
    norm.weight = nn.Parameter(scale, requires_grad=False)
    norm.bias = nn.Parameter(bias, requires_grad=False)
    return norm


def _list_nodes(attention: Attention) -> tuple[ir.Node, ...]:
    """Return the nodes from the scores to the average, in the order of the graph."""
    nodes, value = [attention.value_matmul], attention.value_matmul.inputs[0]
    while nodes[0] is not attention.score_matmul:
        node = value.producer() if value is not None else None
        if node is None:
            raise ValueError(f"{attention.value_matmul.name} reads no scores")
        nodes.insert(0, node)
        value = next(one for one in node.inputs if one is not None and read_constant(one) is None)
    return tuple(nodes)


def _make_attention(name: str, attention: Attention) -> Layer:
    queries, keys = attention.score_matmul.inputs
    values = attention.value_matmul.inputs[1]
    inputs = tuple(one for one in (queries, keys, values) if one is not None)
    return Layer(name, _list_nodes(attention), inputs)
