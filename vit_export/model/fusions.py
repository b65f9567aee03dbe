"""What the best form of a model's graph contains, for the fusion audit."""

from dataclasses import dataclass

from vit_export.model.vit.choices import Mlp


@dataclass(frozen=True, kw_only=True)
class ExpectedFusions:
    """How many nodes of each kind the graph of a model has if every fusion succeeded."""

    attentions: int
    layer_norms: int
    activations: int
    activation: Mlp
    """Kind of activation; where a graph has several kinds of GELU, `gelu` counts them all."""
