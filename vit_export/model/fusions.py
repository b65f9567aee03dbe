"""What the best form of a model's graph contains, for the fusion audit."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExpectedFusions:
    """How many nodes of each kind the graph of a model has if every fusion succeeded."""

    attentions: int
    layer_norms: int
    activations: int
    activation: str
    """Kind of activation: `gelu`, `gelu_tanh`, `quick_gelu` or `swiglu`."""
