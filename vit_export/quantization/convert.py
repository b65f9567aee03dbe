"""A finished fp32 graph in the precision of its manifest, and the truth about what it became."""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from vit_export.artifact.precision import find_wrong_arithmetic
from vit_export.core.errors import ProofError
from vit_export.graph.cost import macs_by_dtype
from vit_export.graph.optimize import check_graph
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.quantization.float16 import BRAIN, to_half, without
from vit_export.quantization.float16_ranges import Reach, reach_of
from vit_export.quantization.plan import Plan
from vit_export.quantization.qdq import quantize_graph

LARGER_SHARE = {
    "int8": "add --include attention or patches, or take a smaller --image-size.",
    "int8-static": "add --include attention or patches, or take a smaller --image-size.",
    "weights-int8": "add --include patches, or take a smaller --image-size.",
    "weights-int4": "add --include patches, or take a smaller --image-size.",
}
"""What makes the share larger: attention is much of a large image, patches of a small model."""


def quantize(model: ir.Model, plan: Plan, precision: str, flavour: str) -> None:
    """Rewrites the linear layers and attentions of `model` as `plan` says, in place.

    Raises:
        ProofError: most of it is still in another precision.
    """
    quantize_graph(model, plan, flavour)
    _finish(model, precision)


def halve(model: ir.Model, samples: npt.NDArray[np.float32], *, io: bool) -> Reach:
    """Makes `model` fp16 in place, but for what gets too large on `samples` (M, C, H, W).

    Raises:
        ProofError: most of it is still in fp32.
    """
    infer_shapes(model)
    reach = reach_of(model, samples)
    to_half(model, kept=reach.kept, io=io)
    _finish(model, "fp16")
    return reach


def halve_to_bf16(model: ir.Model) -> None:
    """Makes `model` bf16 in place. It has the range of fp32, so nothing can get too large for it.

    Raises:
        ProofError: most of it is still in fp32.
    """
    infer_shapes(model)
    to_half(model, kept=without(model, BRAIN), dtype=BRAIN)
    _finish(model, "bf16")


def _finish(model: ir.Model, precision: str) -> None:
    remove_unused(model)
    infer_shapes(model)
    check_graph(model)
    check_census(model, precision)


def check_census(model: ir.Model, precision: str) -> None:
    """Nothing, when most multiply-adds are done as `precision` says.

    Raises:
        ProofError: they are not.
    """
    problem = find_wrong_arithmetic(macs_by_dtype(model.graph), precision)
    if problem is not None:
        fix = LARGER_SHARE.get(precision, "report this with the model's spec.")
        raise ProofError(f"the graph {problem}.", fix)
