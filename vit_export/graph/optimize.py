"""All passes over a graph in their order, and a check after each pass that changed it."""

import onnx
import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.passes import GENERAL_PASSES, PASSES, RUNTIME_PASSES, Pass
from vit_export.graph.weightless import weights_as_inputs


def optimize(
    model: ir.Model, runtime_flavor: str = "portable", *, general: bool = False
) -> dict[str, int]:
    """Improve `model` in place and return the number of changes by pass.

    Args:
        model: the graph to change.
        runtime_flavor: value of `--for`: the runtime that the graph is for.
        general: whether the graph is that of any module, which no lowering prepared.

    Raises:
        BuildError: a pass failed or left an invalid graph; the message names it and the passes
            that ran before.
    """
    changes: dict[str, int] = {}
    names = _name_tensors(model)
    first = GENERAL_PASSES if general else ()
    for step in (*first, *PASSES, *RUNTIME_PASSES[runtime_flavor]):
        try:
            count = step.apply(model)
            if count:
                check_graph(model)
            _check_names(model, names)
        except Exception as error:
            raise _pass_error(step, error, changes) from error
        changes[step.name] = changes.get(step.name, 0) + count
    return changes


def _check_names(model: ir.Model, names: list[str]) -> None:
    """Raise ValueError unless inputs and outputs still have these names."""
    if _name_tensors(model) != names:
        raise ValueError(f"{', '.join(names)} became {', '.join(_name_tensors(model))}.")


def _name_tensors(model: ir.Model) -> list[str]:
    """Return the names of inputs and outputs, by which programs take them."""
    return [str(one.name) for one in (*model.graph.inputs, *model.graph.outputs)]


def check_graph(model: ir.Model) -> None:
    """Raise an error of onnx unless the graph is valid; the values of large weights are not read.

    Raises:
        onnx.checker.ValidationError: a node breaks the standard.
        onnx.shape_inference.InferenceError: shapes or types contradict each other.
    """
    with weights_as_inputs(model):
        onnx.checker.check_model(ir.to_proto(model), full_check=True)


def _pass_error(step: Pass, error: Exception, changes: dict[str, int]) -> BuildError:
    reason = str(error).partition("\n")[0]
    earlier = ", ".join(changes) or "none"
    message = f"pass {step.name} failed: {type(error).__name__}: {reason} "
    message += f"Passes before it: {earlier}."
    return BuildError(message, "report this with the model's spec.")
