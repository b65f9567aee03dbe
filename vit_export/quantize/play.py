"""A plan played in PyTorch: numbers are rounded as a runtime rounds them, and no file is written.

Integer products are exact, so floats that stand on the same steps give the same answer, but for the
order of sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_export.quantize.layers import encoder_layers
from vit_export.quantize.plan import LayerPlan, Plan
from vit_export.quantize.schemes import SCHEMES
from vit_export.vit.lower import LoweredVit


class PlayedLinear(nn.Module):
    """A linear layer as its plan quantizes it, (M, K) to (M, N)."""

    def __init__(self, layer: LayerPlan) -> None:
        super().__init__()
        self.scheme = SCHEMES[layer.scheme]
        self.range = layer.range
        self.weight = torch.from_numpy(layer.weight.restored())
        self.bias = torch.from_numpy(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The answer in float, as a runtime gives it."""
        return functional.linear(self.scheme.restored_input(x, self.range), self.weight, self.bias)


@contextmanager
def played(lowered: LoweredVit, plan: Plan) -> Iterator[LoweredVit]:
    """`lowered` with the layers of `plan` quantized; it is as it was afterwards."""
    exact = {name: layer for name, layer in encoder_layers(lowered).items() if name in plan.layers}
    try:
        for name in exact:
            lowered.set_submodule(name, PlayedLinear(plan.layers[name]))
        yield lowered
    finally:
        for name, layer in exact.items():
            lowered.set_submodule(name, layer)
