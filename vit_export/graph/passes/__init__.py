"""The passes over a graph, in order; a new one is one file and one line with its reason here."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from vit_export.graph.passes.fix_reshapes import fix_reshapes
from vit_export.graph.passes.fuse_attention import fuse_attention
from vit_export.graph.passes.fuse_quick_gelu import fuse_quick_gelu
from vit_export.graph.passes.infer_shapes import infer_shapes
from vit_export.graph.passes.lift_constants import lift_constants
from vit_export.graph.passes.merge_chains import merge_chains
from vit_export.graph.passes.remove_unused import remove_unused
from vit_export.graph.passes.share_initializers import share_initializers
from vit_export.graph.passes.split_projections import split_projections


@dataclass(frozen=True)
class Pass:
    """One rewrite of a graph, in place."""

    apply: Callable[[ir.Model], int]
    """Says how many things it changed."""
    reason: str
    """Why it stands where it stands."""

    @property
    def name(self) -> str:
        """That of its function."""
        return self.apply.__name__


PASSES = (
    Pass(lift_constants, "first: every pass after it finds constants in one place"),
    Pass(fix_reshapes, "before shapes, which follow from constants only"),
    Pass(infer_shapes, "before chains, which compare the shapes of reshapes"),
    Pass(merge_chains, "before fusions, which look for one transpose where there were two"),
    Pass(share_initializers, "after shapes became constants, most of them equal"),
    Pass(remove_unused, "last: it takes what the others left without a reader"),
)
FLAVOURS: dict[str, tuple[Pass, ...]] = {
    "portable": (),
    "onnxruntime": (
        Pass(fuse_attention, "on the plain pattern, which no other fusion has touched yet"),
        Pass(split_projections, "after attention: what reads the parts no longer matters"),
        Pass(fuse_quick_gelu, "anywhere: it shares no node with the others"),
        Pass(share_initializers, "the fusions made shapes of their own"),
        Pass(remove_unused, "last, as above"),
    ),
    "openvino": (),
    "tensorrt": (),
}
"""What is done besides for one runtime, where that measured faster (`scripts/bench_peers.py`).
Runtimes with nothing here fuse the portable graph themselves and take no foreign operators."""
