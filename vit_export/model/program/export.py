"""From a module to a program of `torch.export`; only this file exports one.

A batch that the module fixes is an error and never a file: PyTorch's exporter writes the example's
batch into the graph of some modules without a word.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.export import ExportedProgram

from vit_export.core.errors import RequestError
from vit_export.model.program.blame import BatchGuard, explain, find_computed_groups

EXAMPLE_BATCH = 2
"""torch.export treats sizes of 0 and 1 as constants."""
DIMENSION = "batch"
ONE_IMAGE = "give --batch 1 for a file that takes one image at a time"


def export_program(
    module: nn.Module, sample_shape: Sequence[int], batch_size: int | None, name: str
) -> ExportedProgram:
    """Return the program that computes the answers of `module` to a batch of samples.

    Args:
        module: a module in evaluation mode, with one input and one tensor as its answer. A copy of
            it is exported: some modules write to themselves while they are traced.
        sample_shape: shape of one sample, without the batch.
        batch_size: the only size of a batch; None for any size from 1 on.
        name: the module's name, for errors.

    Raises:
        RequestError: the code of the module can't be captured, or fixes the batch; the message has
            the file and the line.
    """
    guard = BatchGuard()
    try:
        program = _export(module, sample_shape, batch_size, guard)
    except Exception as error:  # noqa: BLE001 code of others may fail in any way under a tracer
        cause = explain(error, guard)
    else:
        cause = find_computed_groups(program)
        if batch_size is None and not _has_free_batch(program):
            cause = f"it answers {EXAMPLE_BATCH} images whatever the batch"
        if not cause:
            return program
    fix = _advise(module, sample_shape, batch_size, name)
    raise RequestError(f"{name} can't be captured: {cause}.", fix)


def _export(
    module: nn.Module, sample_shape: Sequence[int], batch_size: int | None, guard: BatchGuard
) -> ExportedProgram:
    example = torch.zeros(batch_size or EXAMPLE_BATCH, *sample_shape)
    free = None if batch_size else ({0: torch.export.Dim(DIMENSION, min=1)},)
    with guard.listen(), torch.no_grad():
        return torch.export.export(
            copy.deepcopy(module), (example,), dynamic_shapes=free, strict=False
        )


def _has_free_batch(program: ExportedProgram) -> bool:
    """Return whether the first axes of the input and of the answer are one free dimension."""
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    names = (*signature.user_inputs, *signature.user_outputs)
    sizes = [nodes[str(name)].meta["val"].shape[0] for name in names]
    return all(isinstance(one, torch.SymInt) for one in sizes) and len({*map(str, sizes)}) == 1


def _advise(
    module: nn.Module, sample_shape: Sequence[int], batch_size: int | None, name: str
) -> str:
    """Return what works: one image per batch, if the module can be captured with that."""
    rewrite = f"change that line of {name}, so that it computes with tensors alone."
    if batch_size is None and takes_one_image(module, sample_shape):
        return f"{ONE_IMAGE}, or {rewrite}"
    return rewrite


def takes_one_image(module: nn.Module, sample_shape: Sequence[int]) -> bool:
    """Return whether a module can be captured with a batch of one sample."""
    try:
        _export(module, sample_shape, 1, BatchGuard())
    except Exception:  # noqa: BLE001 as above: then a fixed batch is no help
        return False
    return True
