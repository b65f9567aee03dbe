"""A plan played in PyTorch: numbers are rounded as a runtime rounds them, and no file is written.

Integer products are exact, so floats that stand on the same steps give the same answer, but for the
order of sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.vit.lowering import LoweredVit
from vit_export.quantization.attention import PlayedProducts
from vit_export.quantization.plan import LayerPlan, Plan
from vit_export.quantization.schemes import SCHEMES


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
    """`lowered` as `plan` quantizes it; it is as it was afterwards."""
    players: dict[str, nn.Module] = {n: PlayedLinear(one) for n, one in plan.layers.items()}
    players |= {name: PlayedProducts(one) for name, one in plan.products.items()}
    exact = {name: lowered.get_submodule(name) for name in players}
    try:
        for name, player in players.items():
            lowered.set_submodule(name, player)
        yield lowered
    finally:
        for name, module in exact.items():
            lowered.set_submodule(name, module)
