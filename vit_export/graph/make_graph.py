"""From a lowered module to its best graph in fp32: captured, simplified, and all passes applied."""

from collections import Counter
from typing import TYPE_CHECKING

from vit_export.artifact.batch import Batch
from vit_export.core.progress import Progress
from vit_export.graph.capture import capture
from vit_export.graph.optimize import optimize
from vit_export.graph.simplify import simplify
from vit_export.model.signature import Signature

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import nn


def make_graph(
    module: "nn.Module",
    signature: Signature,
    *,
    batch: Batch,
    opset: int,
    simplifies: bool,
    flavour: str,
    general: bool,
    progress: Progress,
) -> tuple["ir.Model", Counter[str]]:
    """Return the graph of `module`, and how many nodes there were and each pass changed.

    Args:
        module: the lowered module.
        signature: the image's shape, and the names of inputs and outputs.
        batch: batch sizes of the input; a single size is fixed in the graph.
        opset: version of the standard operators.
        simplifies: whether onnxsim runs before the passes.
        flavour: value of `--for`: the runtime that the graph is for.
        general: whether the graph is that of any module, which no lowering prepared.
        progress: shows every stage.

    Raises:
        BuildError: the exporter or a pass failed.
    """
    with progress("capture"):
        model = capture(module, signature, opset=opset, batch=batch)
    return improve_graph(
        model, simplifies=simplifies, flavour=flavour, general=general, progress=progress
    )


def improve_graph(
    model: "ir.Model", *, simplifies: bool, flavour: str, general: bool, progress: Progress
) -> tuple["ir.Model", Counter[str]]:
    """Return a captured graph in its best form, and the counts of `make_graph`.

    Raises:
        BuildError: a pass failed.
    """
    counts = Counter({"nodes captured": len(model.graph)})
    if simplifies:
        with progress("simplify"):
            model = simplify(model)
        counts["nodes after onnxsim"] = len(model.graph)
    with progress("optimize"):
        changes = optimize(model, flavour, general=general)
    counts.update(changes)
    return model, counts
