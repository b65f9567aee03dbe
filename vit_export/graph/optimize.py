"""All passes over a graph, in their order, each looked at by onnx.checker."""

import onnx
import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.passes import FLAVOURS, PASSES, Pass
from vit_export.graph.weightless import weights_as_inputs


def optimize(model: ir.Model, flavour: str = "portable") -> dict[str, int]:
    """Improves `model` in place for `flavour`; says how many things each pass changed.

    Raises:
        BuildError: a pass failed or left an invalid graph; its name and those before it are told.
    """
    changed: dict[str, int] = {}
    for one in (*PASSES, *FLAVOURS[flavour]):
        try:
            count = one.apply(model)
            if count:
                check(model)
        except Exception as error:
            raise _failed(one, error, changed) from error
        changed[one.name] = changed.get(one.name, 0) + count
    return changed


def check(model: ir.Model) -> None:
    """Nothing, when the graph is valid ONNX; its weights need not be looked at for that.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: it is not.
    """
    with weights_as_inputs(model):
        onnx.checker.check_model(ir.to_proto(model), full_check=True)


def _failed(one: Pass, error: Exception, before: dict[str, int]) -> BuildError:
    reason = str(error).partition("\n")[0]
    ran = ", ".join(before) or "none"
    message = f"pass {one.name} failed: {type(error).__name__}: {reason} Before it ran: {ran}."
    return BuildError(message, "report this with the model's spec.")
