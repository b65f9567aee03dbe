"""The passes over a graph, in order; a new pass is one file and one line with its reason here."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from vit_export.graph.passes.fix_reshapes import fix_reshapes
from vit_export.graph.passes.flatten_tokens import flatten_tokens
from vit_export.graph.passes.fold_batch_norms import fold_batch_norms
from vit_export.graph.passes.fold_constants import fold_constants
from vit_export.graph.passes.fold_factors import fold_factors
from vit_export.graph.passes.fuse_attention import fuse_attention
from vit_export.graph.passes.fuse_norms import fuse_norms
from vit_export.graph.passes.fuse_quick_gelu import fuse_quick_gelu
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.lift_constants import lift_constants
from vit_export.graph.passes.merge_chains import merge_chains
from vit_export.graph.passes.pad_hidden import pad_hidden
from vit_export.graph.passes.remove_full_slices import remove_full_slices
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.passes.replace_einsum import replace_einsum
from vit_export.graph.passes.resolve_casts import resolve_casts
from vit_export.graph.passes.separate_queries import separate_queries
from vit_export.graph.passes.share_initializers import share_initializers
from vit_export.graph.passes.sink_slices import sink_slices
from vit_export.graph.passes.split_projections import split_projections
from vit_export.graph.passes.unstack_projections import unstack_projections
from vit_export.graph.passes.write_split_sizes import write_split_sizes


@dataclass(frozen=True)
class Pass:
    """One rewrite of a graph, in place."""

    apply: Callable[[ir.Model], int]
    """The rewrite; it returns the number of its changes."""
    reason: str
    """Why it has its place in the order."""

    @property
    def name(self) -> str:
        """Name of its function."""
        return self.apply.__name__


PASSES = (
    Pass(lift_constants, "first: every other pass finds constants in one place"),
    Pass(fix_reshapes, "before shapes: they follow from constants only"),
    Pass(infer_shapes, "before chains and splits, which read shapes"),
    Pass(write_split_sizes, "before equal initializers become one: most sizes are equal"),
    Pass(merge_chains, "before fusions, which expect one transpose where there were two"),
    Pass(share_initializers, "after shapes became constants, most of them equal"),
    Pass(remove_unused, "last: it removes what the others left without a reader"),
)
GENERAL_PASSES = (
    Pass(lift_constants, "first, as below"),
    Pass(fix_reshapes, "before shapes, as below"),
    Pass(resolve_casts, "before constants: a CastLike hides one"),
    Pass(fold_constants, "before all that reads weights: they stand transposed in the graph"),
    Pass(infer_shapes, "before all that follows, which reads shapes"),
    Pass(fold_batch_norms, "anywhere before rows: it reads convolutions and projections"),
    Pass(fuse_norms, "before factors, which would take a norm's scale apart from it"),
    Pass(replace_einsum, "before all that looks for products: an Einsum hides them"),
    Pass(merge_chains, "before stacks, which expect one Reshape where there were two"),
    Pass(remove_full_slices, "before slices move: one that takes all stands in their way"),
    Pass(remove_unused, "before stacks, which ask who reads a value"),
    Pass(unstack_projections, "before slices: a Gather of a part is none of rows"),
    Pass(remove_unused, "again: parts of stacks that nothing reads count as readers"),
    Pass(fold_factors, "before slices: a factor on many tokens and one on few are the same"),
    Pass(sink_slices, "before projections change their form"),
    Pass(separate_queries, "after slices stand right behind the parts of a projection"),
    Pass(sink_slices, "again: queries have a projection of their own now"),
    Pass(remove_unused, "before rows: a value that nothing reads needs none"),
    Pass(flatten_tokens, "after all that knows projections of tokens: these become Gemm"),
    Pass(remove_unused, "before hidden widths: Reshapes that nothing reads count as readers"),
    Pass(pad_hidden, "last: it knows Gemm alone"),
)
"""Passes before `PASSES`, over graphs of modules that no lowering prepared.

Lowering does all this by hand: none of them changes a graph of a lowered module.
"""
RUNTIME_PASSES: dict[str, tuple[Pass, ...]] = {
    "portable": (),
    "onnxruntime": (
        Pass(fuse_attention, "first: it expects plain operators, which no other fusion changed"),
        Pass(split_projections, "after attention, which expects one projection"),
        Pass(fuse_quick_gelu, "anywhere: it shares no node with the others"),
        Pass(share_initializers, "after the fusions, which add equal shapes"),
        Pass(remove_unused, "last, as above"),
    ),
    "openvino": (),
    "tensorrt": (),
}
"""Further passes by value of `--for`, each measured to be faster (`scripts/bench_baselines.py`).

A runtime without passes of its own fuses the portable graph itself.
"""
