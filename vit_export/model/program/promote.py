"""A program of torch.export in fp64: the exact twin of a module that `double()` does not reach.

Some modules convert to fp32 in their own code, so that their fp64 twin fails or rounds like fp32.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree


def promote(program: ExportedProgram) -> Callable[[Tensor], Tensor]:
    """Return the function from images in fp64 (B, …) to the program's answers in fp64."""
    module, stored = promote_graph(program), list_inputs(program, exact=True)

    def answer(images: Tensor) -> Tensor:
        inputs = [images if one is None else one for one in stored]
        outputs = module(*inputs)
        result: Tensor = outputs[-1]  # outputs before it are buffers that a program updates
        return result

    return answer


def promote_graph(program: ExportedProgram) -> fx.GraphModule:
    """Return the graph of a program, which names fp64 where the program's names fp32."""
    module: fx.GraphModule = copy.deepcopy(program.graph_module)
    for node in module.graph.nodes:
        node.args = pytree.tree_map(_promote_dtype, node.args)
        node.kwargs = pytree.tree_map(_promote_dtype, node.kwargs)
    module.recompile()
    return module


def list_inputs(program: ExportedProgram, *, exact: bool) -> list[Tensor | None]:
    """Return the tensors that the graph of a program takes, in order; None stands for the images.

    Args:
        program: the program.
        exact: whether they are in fp64, for the graph of `promote_graph`.
    """
    tensors = {**program.state_dict, **program.constants}
    stored = [
        None if one.kind is InputKind.USER_INPUT else tensors[str(one.target)]
        for one in program.graph_signature.input_specs
    ]
    return [_promote_tensor(one) for one in stored] if exact else stored


def _promote_dtype(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def _promote_tensor(tensor: Tensor | None) -> Tensor | None:
    is_float = tensor is not None and tensor.is_floating_point()
    return tensor.detach().double() if tensor is not None and is_float else tensor
