"""Running all passes over a graph in their order, with a check after each that changed it."""

import onnx
import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.passes import PASSES, RUNTIME_PASSES, Pass
from vit_export.graph.weightless import weights_as_inputs


def optimize(model: ir.Model, runtime_flavor: str = "portable") -> dict[str, int]:
    """Improve `model` in place and return the number of changes by pass.

    Args:
        model: the graph to change.
        runtime_flavor: value of `--for`: the runtime that the graph is for.

    Raises:
        BuildError: a pass failed or left an invalid graph; the message names it and those that ran
            before it.
    """
    changes: dict[str, int] = {}
    for one in (*PASSES, *RUNTIME_PASSES[runtime_flavor]):
        try:
            count = one.apply(model)
            if count:
                check_graph(model)
        except Exception as error:
            raise _pass_error(one, error, changes) from error
        changes[one.name] = changes.get(one.name, 0) + count
    return changes


def check_graph(model: ir.Model) -> None:
    """Raise an error of onnx unless the graph is valid; large weights are not read.

    Raises:
        onnx.checker.ValidationError: a node breaks the standard.
        onnx.shape_inference.InferenceError: shapes or types contradict each other.
    """
    with weights_as_inputs(model):
        onnx.checker.check_model(ir.to_proto(model), full_check=True)


def _pass_error(one: Pass, error: Exception, changes: dict[str, int]) -> BuildError:
    reason = str(error).partition("\n")[0]
    ran = ", ".join(changes) or "none"
    message = f"pass {one.name} failed: {type(error).__name__}: {reason} Before it ran: {ran}."
    return BuildError(message, "report this with the model's spec.")
