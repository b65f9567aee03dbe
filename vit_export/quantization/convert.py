"""Conversion of a finished fp32 graph to a precision, and the check of its arithmetic."""

import onnx_ir as ir

from vit_export.artifact.precision import find_wrong_arithmetic
from vit_export.artifact.records import Fp16Range
from vit_export.core.errors import ProofError
from vit_export.core.numerics import Array
from vit_export.graph.cost import count_flops, count_node_flops, macs_by_dtype
from vit_export.graph.optimize import check_graph
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.saturation import find_saturating
from vit_export.quantization.float16 import BF16, FP16, cast_graph, find_unsupported
from vit_export.quantization.float16_ranges import analyze_range
from vit_export.quantization.plan import QuantizationPlan
from vit_export.quantization.qdq import write_plan

LARGER_SHARE = {
    "int8": "add --include attention or patches, or take a smaller --image-size.",
    "int8-static": "add --include attention or patches, or take a smaller --image-size.",
    "weights-int8": "add --include patches, or take a smaller --image-size.",
    "weights-int4": "add --include patches, or take a smaller --image-size.",
}
"""Advice to increase the share of a precision.

Attention dominates the arithmetic of a large image, the patch projection that of a small model."""


def quantize(model: ir.Model, plan: QuantizationPlan, precision: str, flavour: str) -> None:
    """Quantize the linear layers and attentions of `model` that are in `plan`, in place.

    Raises:
        BuildError: the graph lacks a layer of the plan.
        ProofError: most multiply-adds are still in another precision, or a product can saturate.
    """
    write_plan(model, plan, flavour)
    _finish(model, precision)
    if saturating := find_saturating(model.graph):
        message = f"{', '.join(saturating)} can saturate on x86 CPUs without VNNI."
        raise ProofError(message, "report this with the model's spec.")


def convert_to_fp16(model: ir.Model, samples: Array, *, io: bool) -> Fp16Range:
    """Convert `model` to fp16 in place, except for nodes whose numbers get too large for fp16.

    Args:
        model: a graph in fp32.
        samples: model inputs (M, C, H, W) to measure magnitudes on.
        io: whether the inputs and outputs of the graph become fp16 as well.

    Raises:
        ProofError: most multiply-adds are still in fp32.
    """
    infer_shapes(model)
    analysis = analyze_range(model, samples)
    cast_graph(model, FP16, fp32_nodes=analysis.fp32_nodes, io=io)
    _finish(model, "fp16")
    return analysis.fp16_range


def convert_to_bf16(model: ir.Model) -> None:
    """Convert `model` to bf16 in place; bf16 has the range of fp32, so nothing overflows.

    Raises:
        ProofError: most multiply-adds are still in fp32.
    """
    infer_shapes(model)
    cast_graph(model, BF16, fp32_nodes=find_unsupported(model, BF16))
    _finish(model, "bf16")


def _finish(model: ir.Model, precision: str) -> None:
    remove_unused(model)
    infer_shapes(model)
    check_graph(model)
    check_arithmetic(model, precision)


def check_arithmetic(model: ir.Model, precision: str) -> None:
    """Raise ProofError unless most multiply-adds of `model` are in `precision`."""
    problem = find_wrong_arithmetic(macs_by_dtype(model.graph), precision)
    if problem is not None:
        fix = LARGER_SHARE.get(precision, "report this with the model's spec.")
        if _has_mostly_convolutions(model.graph):
            fix = "take --precision fp32 or fp16: convolutions stay in fp32."
        raise ProofError(f"the graph {problem}.", fix)


def _has_mostly_convolutions(graph: ir.Graph) -> bool:
    """Whether convolutions that no patch projection is do most of the arithmetic."""
    inner = [n for n in graph if n.op_type == "Conv" and n.inputs[0] not in graph.inputs]
    return 2 * sum(map(count_node_flops, inner)) > count_flops(graph)
