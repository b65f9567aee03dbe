"""From an export-friendly module to an ONNX graph; only this file calls torch.onnx."""

import ast
import contextlib
import copy
import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset18 as op
from torch import nn

from vit_export.artifact.batch import Batch
from vit_export.core.errors import BuildError
from vit_export.graph.passes.fix_reshapes import fix_reshapes
from vit_export.graph.passes.lift_constants import lift_constants
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.repeat_blocks import CAPTURED_BLOCKS, repeat_blocks
from vit_export.model.signature import Signature
from vit_export.model.vit.lowering import LoweredVit

EXAMPLE_BATCH = 2  # torch.export treats sizes of 0 and 1 as constants
NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key of the exporter: the modules around a node, outermost first."""


def _translate_attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
    """Write attention in four nodes; the exporter's own version rebuilds shapes and scales twice.

    Lowering puts the scale into the query weights and uses neither mask nor dropout.
    """
    scores = op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2]))
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def _translate_split(x: Any, size: int, dim: int = 0) -> Any:
    """Write equal parts in one node; the exporter's own version takes them from a sequence."""
    return op.Split(x, axis=dim, num_outputs=x.shape[dim] // size)


def _translate_gelu(x: Any, approximate: str = "none") -> Any:
    """Write GELU before opset 20 with the half last.

    With the half first, as the exporter writes it, OpenCV 4.11 and 5.0 crash while they fuse it.
    """
    if approximate == "tanh":
        cubed = op.Mul(op.Mul(op.Mul(x, x), x), 0.044715)
        bent = op.Tanh(op.Mul(op.Add(x, cubed), math.sqrt(2 / math.pi)))
    else:
        bent = op.Erf(op.Div(x, math.sqrt(2)))
    return op.Mul(op.Mul(x, op.Add(bent, 1.0)), 0.5)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.scaled_dot_product_attention.default: _translate_attention,
    torch.ops.aten.split.Tensor: _translate_split,
}
GELU_OPSET = 20
"""First opset with the operator Gelu."""


def capture(module: nn.Module, signature: Signature, *, opset: int, batch: Batch) -> ir.Model:
    """Return the graph of `module`, with the names of `signature` and nodes named after modules.

    Args:
        module: the module to capture; its weights are shared, not copied.
        signature: the image's shape, and the names of inputs and outputs.
        opset: version of the standard operators.
        batch: batch sizes of the input; a single size is fixed in the graph.

    Raises:
        BuildError: the exporter returned no graph.
    """
    size = batch.fixed or EXAMPLE_BATCH
    dynamic = None if batch.fixed else ({0: torch.export.Dim("batch", min=1)},)
    short = _keep_two_blocks(module)
    with _silence_exporter():
        program = torch.onnx.export(
            _copy_without_memory(short),
            (torch.zeros(size, *signature.image_shape),),
            input_names=[tensor.name for tensor in signature.inputs],
            output_names=[tensor.name for tensor in signature.outputs],
            opset_version=opset,
            dynamic_shapes=dynamic,
            dynamo=True,
            external_data=False,
            custom_translation_table=_choose_translations(opset),
            optimize=False,  # onnxsim and our own passes do that, each proven
            verbose=False,
        )
    if program is None:
        raise BuildError(f"torch {torch.__version__} captured nothing.", "report this.")
    model = program.model
    _name_nodes(model)
    _remove_notes(model)
    if short is not module and isinstance(module, LoweredVit):
        for tidy in (lift_constants, fix_reshapes, remove_unused):
            tidy(model)  # after these, blocks share nothing but constants
        repeat_blocks(model, len(module.blocks))
    _set_weights(model, module)
    return model


def _choose_translations(opset: int) -> dict[Callable[..., Any], Callable[..., Any]]:
    if opset >= GELU_OPSET:
        return TRANSLATIONS
    return TRANSLATIONS | {torch.ops.aten.gelu.default: _translate_gelu}


def export_plainly(
    module: nn.Module, image_shape: Sequence[int], path: Path, *, dynamo: bool = True
) -> None:
    """Export `module` to `path` by plain torch.onnx.export, as a baseline of `bench`.

    Args:
        module: the module to export.
        image_shape: (C, H, W) of one image; the batch is free.
        path: the file to write.
        dynamo: whether to use the exporter that is the default since torch 2.9.
    """
    example = torch.zeros(EXAMPLE_BATCH, *image_shape)
    options: dict[str, Any] = {"dynamic_axes": {"image": {0: "batch"}}, "opset_version": 20}
    if dynamo:
        shapes = ({0: torch.export.Dim("batch", min=1)},)
        options = {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
    with _silence_exporter(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using the legacy", DeprecationWarning)
        # tracing warns about values that become constants: here all of them are constant
        warnings.filterwarnings("ignore", "Converting a tensor to a Python|torch.tensor results")
        torch.onnx.export(module, (example,), path, input_names=["image"], dynamo=dynamo, **options)


def _keep_two_blocks(module: nn.Module) -> nn.Module:
    """Return the module with only its first and last block; `repeat_blocks` restores the others."""
    if not isinstance(module, LoweredVit) or len(module.blocks) <= CAPTURED_BLOCKS:
        return module
    short = copy.copy(module)
    short._modules = {**module._modules, "blocks": module.blocks[:: len(module.blocks) - 1]}  # noqa: SLF001 copy.copy shares it
    return short


def _copy_without_memory(module: nn.Module) -> nn.Module:
    """Copy a module with tensors that take no memory: the graph does not depend on the weights."""
    tensors = {
        id(tensor): nn.Parameter(torch.zeros(()).expand(tensor.shape), requires_grad=False)
        for tensor in (*module.parameters(), *module.buffers())
    }
    return copy.deepcopy(module, tensors)


def _set_weights(model: ir.Model, module: nn.Module) -> None:
    """Give the initializers of `model` the tensors of `module` by name, without a copy."""
    tensors = module.state_dict()
    for name, value in model.graph.initializers.items():
        if name in tensors:
            array = tensors[name].detach().contiguous().numpy()
            value.const_value = ir.tensor(array, name=name)


@contextlib.contextmanager
def _silence_exporter() -> Iterator[None]:
    """Hide the exporter's messages about optional packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 checks a LeafSpec of its own by isinstance while tracing
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
            yield
    finally:
        logger.setLevel(level)


def _name_nodes(model: ir.Model) -> None:
    """Name each node after its module and operator, with a number where the name is taken."""
    counts: Counter[str] = Counter()
    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get(NAME_SCOPES, "['', '']"))
        name = "/".join(filter(None, (scopes[-2] if len(scopes) > 1 else "", node.op_type)))
        counts[name] += 1
        node.name = name if counts[name] == 1 else f"{name}_{counts[name]}"
    model.graph.name = "vit"
    model.producer_name = "vit-export"
    model.producer_version = None


def _remove_notes(model: ir.Model) -> None:
    """Remove the exporter's metadata and doc strings, which contain paths of this machine."""
    graph = model.graph
    for node in graph:
        node.doc_string = None
    values = (*graph.inputs, *graph.initializers.values(), *(v for n in graph for v in n.outputs))
    for item in (model, graph, *graph, *values):
        item.metadata_props.clear()
