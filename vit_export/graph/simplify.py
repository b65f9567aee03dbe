"""onnxsim, run on the graph without its weights.

Large weights go in as graph inputs and come back as initializers, so the cost does not grow with
the model and 2 GB are no limit. onnxsim folds constants and removes what does nothing; none of
that needs the weights' values.
"""

import onnx_ir as ir

from vit_export.core.errors import BuildError
from vit_export.graph.weightless import weights_as_inputs

SKIPPED = [
    # A rank-3 MatMul + Add would become Reshape, Gemm, Reshape: 2 nodes more per linear layer,
    # and no faster anywhere it was measured.
    "fuse_matmul_add_bias_into_gemm_batched",
]


def simplify(model: ir.Model) -> ir.Model:
    """The same graph after onnxsim; weights are those of `model`, not copies.

    Raises:
        BuildError: onnxsim failed; nothing of its result is used.
    """
    import onnxsim

    with weights_as_inputs(model) as weights:
        try:
            proto, _ = onnxsim.simplify(ir.to_proto(model), skipped_optimizers=SKIPPED)
        except Exception as error:  # noqa: BLE001 it raises whatever its C++ core throws
            raise BuildError(f"onnxsim failed: {error}", "export with --no-simplify.") from None
    simplified: ir.Model = ir.from_proto(proto)
    for value in list(simplified.graph.inputs):
        if value.name is not None and value.name in weights:
            simplified.graph.inputs.remove(value)
            value.const_value = weights[value.name]
            simplified.graph.register_initializer(value)
    return simplified
