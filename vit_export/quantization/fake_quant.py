"""Fake quantization: a plan simulated in PyTorch, with the rounding of a runtime.

Products of integers are exact, so floats with the same values give the same answer, up to the order
of sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_export.model.layered import LayeredModule
from vit_export.quantization.attention import FakeQuantAttention
from vit_export.quantization.plan import LayerPlan, QuantizationPlan
from vit_export.quantization.schemes import SCHEMES


class FakeQuantLinear(nn.Module):
    """A linear layer with fake quantization, (M, K) to (M, N)."""

    def __init__(self, layer: LayerPlan) -> None:
        super().__init__()
        self.scheme = SCHEMES[layer.scheme]
        self.params = layer.params
        self.weight = torch.from_numpy(layer.weight.dequantize())
        self.bias = torch.from_numpy(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The output in fp32, with the rounding of a runtime."""
        rounded = self.scheme.fake_quantize_input(x, self.params)
        return functional.linear(rounded, self.weight, self.bias)


@contextmanager
def fake_quantize(lowered: LayeredModule, plan: QuantizationPlan) -> Iterator[LayeredModule]:
    """While open, replace the layers of `plan` in `lowered` by fake-quantized ones; yield it."""
    replacements: dict[str, nn.Module] = {n: FakeQuantLinear(p) for n, p in plan.layers.items()}
    replacements |= {n: FakeQuantAttention(p) for n, p in plan.attention_matmuls.items()}
    originals = {name: lowered.get_layer(name) for name in replacements}
    try:
        for name, module in replacements.items():
            lowered.set_layer(name, module)
        yield lowered
    finally:
        for name, module in originals.items():
            lowered.set_layer(name, module)
