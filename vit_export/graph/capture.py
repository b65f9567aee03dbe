"""From the lowered module to an ONNX graph: the only caller of torch.onnx."""

import ast
import contextlib
import copy
import logging
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
from vit_export.graph.repeat_blocks import CAPTURED, repeat_block
from vit_export.model.vit.lowering import LoweredVit
from vit_export.model.vit.spec import VitSpec

INPUT = "image"
EXAMPLE_BATCH = 2  # torch.export takes 0 and 1 for constants


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
    """Attention in four nodes; the exporter's own version rebuilds shapes and scales twice.

    Lowering puts the scale into the query weights and asks for neither mask nor dropout.
    """
    energy = op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2]))
    return op.MatMul(op.Softmax(energy, axis=-1), value)


def _split(x: Any, size: int, dim: int = 0) -> Any:
    """Equal parts in one node; the exporter's own version makes a sequence and picks from it."""
    return op.Split(x, axis=dim, num_outputs=x.shape[dim] // size)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
    torch.ops.aten.split.Tensor: _split,
}


def capture(module: nn.Module, spec: VitSpec, *, output: str, opset: int, batch: Batch) -> ir.Model:
    """The graph of `module`, input `image` (B, C, H, W), its nodes named after their modules.

    Raises:
        BuildError: the exporter came back without a graph.
    """
    size = batch.fixed or EXAMPLE_BATCH
    example = torch.zeros(size, spec.channels, *spec.image_size)
    dynamic = None if batch.fixed else ({0: torch.export.Dim("batch", min=1)},)
    short = _shortened(module)
    with _quiet():
        program = torch.onnx.export(
            _hollow(short),
            (example,),
            input_names=[INPUT],
            output_names=[output],
            opset_version=opset,
            dynamic_shapes=dynamic,
            dynamo=True,
            external_data=False,
            custom_translation_table=TRANSLATIONS,
            optimize=False,  # onnxsim and our own passes do that, each proven
            verbose=False,
        )
    if program is None:
        raise BuildError(f"torch {torch.__version__} captured nothing.", "report this, please.")
    model = _named(program.model)
    if short is not module:
        for tidy in (
            lift_constants,
            fix_reshapes,
            remove_unused,
        ):  # until blocks share constants only
            tidy(model)
        repeat_block(model, spec.depth)
    return _with_values(model, module)


def export_plainly(
    module: nn.Module, image_shape: Sequence[int], path: Path, *, dynamo: bool = True
) -> None:
    """What torch.onnx.export gives of `module` for images (C, H, W): a bench's baseline.

    Without `dynamo` by the exporter that was the default before torch 2.9.
    """
    example = torch.zeros(EXAMPLE_BATCH, *image_shape)
    dynamic: dict[str, Any] = {"dynamic_axes": {INPUT: {0: "batch"}}, "opset_version": 20}
    if dynamo:
        shapes = ({0: torch.export.Dim("batch", min=1)},)
        dynamic = {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
    with _quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using the legacy", DeprecationWarning)
        # tracing warns of what it takes for constants: here all of that is constant
        warnings.filterwarnings("ignore", "Converting a tensor to a Python|torch.tensor results")
        torch.onnx.export(module, (example,), path, input_names=[INPUT], dynamo=dynamo, **dynamic)


def _shortened(module: nn.Module) -> nn.Module:
    """The module with its first and its last block alone: `repeat_block` brings the others back."""
    if not isinstance(module, LoweredVit) or len(module.blocks) <= CAPTURED:
        return module
    short = copy.copy(module)
    short._modules = {**module._modules, "blocks": module.blocks[:: len(module.blocks) - 1]}  # noqa: SLF001 copy.copy shares it
    return short


def _hollow(module: nn.Module) -> nn.Module:
    """A twin whose tensors have shapes and no memory: a graph is the same for all weights."""
    hollow = {
        id(tensor): nn.Parameter(torch.zeros(()).expand(tensor.shape), requires_grad=False)
        for tensor in (*module.parameters(), *module.buffers())
    }
    return copy.deepcopy(module, hollow)


def _with_values(model: ir.Model, module: nn.Module) -> ir.Model:
    """The graph with the tensors of `module`, by their names; they are not copied."""
    tensors = module.state_dict()
    for name, value in model.graph.initializers.items():
        if name in tensors:
            array = tensors[name].detach().contiguous().numpy()
            value.const_value = ir.tensor(array, name=name)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notes on absent optional packages are not the user's business."""
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


def _named(model: ir.Model) -> ir.Model:
    """Nodes called after the module they come from; the exporter's notes (paths!) removed."""
    counts: Counter[str] = Counter()
    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "['', '']"))
        name = "/".join(filter(None, (scopes[-2] if len(scopes) > 1 else "", node.op_type)))
        counts[name] += 1
        node.name = name if counts[name] == 1 else f"{name}_{counts[name]}"
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.name = "vit"
    model.producer_name = "vit-export"
    model.producer_version = None
    return model
