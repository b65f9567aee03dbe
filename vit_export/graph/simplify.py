"""onnxsim, run on the graph without its large weights.

The weights go in as graph inputs and become initializers again, so the cost does not grow with the
model, and 2 GB are no limit. onnxsim folds constants and removes nodes without effect; neither
needs the values of weights.
"""

import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.weightless import weights_as_inputs

SKIPPED_OPTIMIZERS = [
    # A rank-3 MatMul + Add would become Reshape, Gemm, Reshape, which was faster
    # in no runtime that it was measured in.
    "fuse_matmul_add_bias_into_gemm_batched",
]
METADATA_PREFIX = "onnxsim."
"""Prefix of onnxsim's own keys in a graph's metadata."""


def simplify(model: ir.Model) -> ir.Model:
    """Return the simplified graph; its weights are those of `model`, not copies.

    Raises:
        BuildError: onnxsim failed.
    """
    import onnxsim

    with weights_as_inputs(model) as weights:
        try:
            proto, _ = onnxsim.simplify(ir.to_proto(model), skipped_optimizers=SKIPPED_OPTIMIZERS)
        except Exception as error:  # noqa: BLE001 it raises whatever its C++ core throws
            reason = str(error) or type(error).__name__
            raise BuildError(f"onnxsim failed: {reason}", "export with --no-simplify.") from None
    simplified: ir.Model = ir.from_proto(proto)
    for value in list(simplified.graph.inputs):
        if value.name is not None and value.name in weights:
            simplified.graph.inputs.remove(value)
            value.const_value = weights[value.name]
            simplified.graph.register_initializer(value)
    _remove_notes(simplified)
    return simplified


def _remove_notes(model: ir.Model) -> None:
    """Remove onnxsim's notes on its own run from the metadata of model, graph and nodes."""
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    items: list[ir.Model | ir.Graph | ir.Node] = [model, model.graph, *nodes]
    for metadata in (item.metadata_props for item in items):
        for key in [key for key in metadata if key.startswith(METADATA_PREFIX)]:
            del metadata[key]
