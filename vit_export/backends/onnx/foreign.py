"""What `inspect` shows of an ONNX file that another tool wrote."""

from pathlib import Path

import onnx_ir as ir

from vit_export.backends.records import Description
from vit_export.core.errors import RequestError
from vit_export.graph.audit import Audit, audit
from vit_export.graph.passes.infer_shapes import infer_shapes


def describe_graph(path: Path) -> Description:
    """Return the inputs, outputs, producer and audit of a graph.

    Raises:
        RequestError: it is no intact ONNX file.
    """
    try:
        model = ir.load(path)
    except Exception as error:  # noqa: BLE001 a foreign graph makes its reader raise anything
        reason = str(error).partition("\n")[0]
        message = f"{path} is no intact ONNX file: {reason}"
        raise RequestError(message, "copy it again, or export the model again.") from None
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    metadata = {"written by": producer or "not recorded"}
    metadata |= {
        str(one.name): _describe(one) for one in (*model.graph.inputs, *model.graph.outputs)
    }
    return Description(metadata=metadata, audit=_audit(model))


def _describe(value: ir.Value) -> str:
    dtype = value.dtype.name.lower() if value.dtype is not None else "?"
    sides = "x".join(map(str, value.shape)) if value.shape is not None else "?"
    return f"{dtype} {sides}"


def _audit(model: ir.Model) -> Audit | None:
    """Return the audit; None for a graph whose shapes can't be inferred."""
    try:
        infer_shapes(model)
        return audit(model, None)
    except Exception:  # noqa: BLE001 shapes of a foreign graph may be anything
        return None
