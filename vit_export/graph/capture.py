"""From an export-friendly module to an ONNX graph; only this file calls torch.onnx."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from vit_export.artifact.batch import Batch
from vit_export.core.errors import BuildError
from vit_export.graph.general import describe_cause, tidy_program
from vit_export.graph.names import name_nodes, remove_notes
from vit_export.graph.passes.fix_reshapes import fix_reshapes
from vit_export.graph.passes.lift_constants import lift_constants
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.repeat_blocks import CAPTURED_BLOCKS, repeat_blocks
from vit_export.graph.translations import choose_translations
from vit_export.model.program.lowered import LoweredProgram
from vit_export.model.signature import Signature
from vit_export.model.vit.lowering import LoweredVit
from vit_export.model.vit.outputs import read_output

EXAMPLE_BATCH = 2  # torch.export treats sizes of 0 and 1 as constants


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
    if isinstance(module, LoweredProgram):
        model = _translate(module.program, (), None, signature, opset)
        tidy_program(model)
        return model
    size = batch.fixed or EXAMPLE_BATCH
    dynamic = None if batch.fixed else ({0: torch.export.Dim("batch", min=1)},)
    short = _keep_two_blocks(module)
    example = (torch.zeros(size, *signature.sample_shape),)
    model = _translate(_copy_without_memory(short), example, dynamic, signature, opset)
    if short is not module and isinstance(module, LoweredVit):
        for tidy in (lift_constants, fix_reshapes, remove_unused):
            tidy(model)  # after these, blocks share nothing but constants
        repeat_blocks(model, len(module.blocks))
    _set_weights(model, module)
    return model


def _translate(
    module: nn.Module | torch.export.ExportedProgram,
    example: tuple[torch.Tensor, ...],
    dynamic: Any,
    signature: Signature,
    opset: int,
) -> ir.Model:
    """Return the graph of a module or a program, in which nodes are named after modules.

    Raises:
        BuildError: an operator has no translation, or the exporter returned no graph.
    """
    try:
        with _silence_exporter():
            program = torch.onnx.export(
                module,
                example,
                input_names=[tensor.name for tensor in signature.inputs],
                output_names=[tensor.name for tensor in signature.outputs],
                opset_version=opset,
                dynamic_shapes=dynamic,
                dynamo=True,
                external_data=False,
                custom_translation_table=choose_translations(opset),
                optimize=False,  # onnxsim and our own passes do that, each proven
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = describe_cause(error, module)
        fix = "compute it with other operators of PyTorch, or report this."
        raise BuildError(f"ONNX has no form of this module: {cause}.", fix) from None
    if program is None:
        raise BuildError(f"torch {torch.__version__} captured nothing.", "report this.")
    model: ir.Model = program.model
    name_nodes(model)
    remove_notes(model)
    return model


def export_plainly(
    module: nn.Module, sample_shape: Sequence[int], path: Path, *, dynamo: bool = True
) -> None:
    """Export `module` to `path` by plain torch.onnx.export, as a baseline of `bench`.

    Args:
        module: the module to export.
        sample_shape: shape of one sample; the batch is free.
        path: the file to write.
        dynamo: whether to use the exporter that is the default since torch 2.9.
    """
    example = torch.zeros(EXAMPLE_BATCH, *sample_shape)
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
    if any(one.block for one in map(read_output, module.outputs) if one is not None):
        return module  # other blocks than the first and the last answer too
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
