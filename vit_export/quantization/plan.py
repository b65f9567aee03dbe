"""The quantization plan of a lowered module: scheme, integers and scales of each layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import nn

from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.progress import Progress, ReportShare, track
from vit_export.model.layered import LayeredModule
from vit_export.model.threads import use_one_thread
from vit_export.quantization.attention import AttentionPlan, plan_attention
from vit_export.quantization.gptq import round_with_gptq
from vit_export.quantization.layers import find_linear_layers
from vit_export.quantization.observer import ActivationStats, LayerStats
from vit_export.quantization.per_token import use_per_token_scales
from vit_export.quantization.schemes import SCHEMES, QuantParams
from vit_export.quantization.smoothquant import smooth_channels
from vit_export.quantization.weights import Floats, QuantizedWeight


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerPlan:
    """How one linear layer is quantized."""

    scheme: str
    """A name in `SCHEMES`."""
    weight: QuantizedWeight
    bias: Floats
    """(N,)"""
    params: QuantParams | None = None
    """Scale and zero point of the input; None if they are computed at run time."""

    def take_rows(self, first: int, end: int) -> Self:
        """The plan of output channels `first` to `end`."""
        return replace(self, weight=self.weight.take_rows(first, end), bias=self.bias[first:end])


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizationPlan:
    """The plans of quantized layers, by module name; all other layers stay in fp32."""

    layers: Mapping[str, LayerPlan] = field(default_factory=dict)
    attention_matmuls: Mapping[str, AttentionPlan] = field(default_factory=dict)

    @property
    def schemes(self) -> dict[str, str]:
        """The scheme of each linear layer and of each attention's matmuls."""
        layers = {name: layer.scheme for name, layer in self.layers.items()}
        return layers | {name: matmuls.scheme for name, matmuls in self.attention_matmuls.items()}


def make_plan(
    lowered: LayeredModule,
    request: QuantizationRequest,
    flavour: str,
    stats: LayerStats,
    progress: Progress,
) -> QuantizationPlan:
    """The plan for `lowered`, from the statistics of its layers.

    Both `lowered` and `stats` change in place: smoothing makes channels easier to round, while
    `lowered` still computes the same function.
    """
    schemes = choose_schemes(lowered, request, flavour)
    with progress("smooth channels"):
        smooth_channels(lowered, stats, schemes)
    layers = find_linear_layers(lowered, request.include)
    with progress("round weights") as report_share:
        schemes = use_per_token_scales(layers, stats, schemes)
        plan = QuantizationPlan(layers=plan_layers(layers, stats, schemes, report_share))
    if "attention" in request.include:
        matmuls = plan_attention(lowered, stats, request.precision)
        return replace(plan, attention_matmuls=matmuls)
    return plan


def choose_schemes(
    lowered: LayeredModule, request: QuantizationRequest, flavour: str
) -> dict[str, str]:
    """The scheme of each layer for `request`, by layer name.

    The second layer of an MLP reads the output of an activation function. Smoothing does not fold
    through that function, and hardly any of its output is negative: a symmetric static range wastes
    a bit, besides the bits that large tokens cost. The loss was 6 dB on a trained DINOv2 ViT-S, so
    each token has a range there.
    """
    layers = find_linear_layers(lowered, request.include)
    if request.precision == "int8-static" and flavour == "onnxruntime":
        return dict.fromkeys(layers, "int8-static-zero-point")
    if request.precision == "int8-static":
        activated = lowered.roles.activated
        return {n: "int8-token" if n in activated else "int8-static" for n in layers}
    if request.precision == "int8" and request.scales == "token":
        return dict.fromkeys(layers, "int8-token-zero-point")
    return dict.fromkeys(layers, request.precision)


def plan_layers(
    layers: Mapping[str, nn.Linear],
    stats: LayerStats,
    schemes: Mapping[str, str],
    report_share: ReportShare | None = None,
) -> dict[str, LayerPlan]:
    """The plan of each layer in `schemes`, by layer name."""
    steps = track(schemes.items(), len(schemes), report_share)
    return {name: plan_layer(layers[name], stats[name], scheme) for name, scheme in steps}


@torch.no_grad()
@use_one_thread()
def plan_layer(layer: nn.Linear, stats: ActivationStats, name: str) -> LayerPlan:
    """The layer's rounded weight, corrected bias and input range in the scheme called `name`.

    The bias takes the mean error of the rounded weight, the part of the error that is the same for
    every image (Nagel et al., arXiv:1906.04721, section 4.2). GPTQ compensates for the rest, on
    inputs that are rounded as the scheme rounds them. All this happens in one thread: else numbers
    halfway between two integers would depend on the number of threads.
    """
    scheme = SCHEMES[name]
    params = scheme.choose_params(stats)
    inputs = scheme.fake_quantize_input(stats.rows, params) - stats.mean
    bits, block, pairs = scheme.bits, scheme.block, scheme.limits_pairs
    weight = round_with_gptq(layer.weight, inputs, bits, block, pairs=pairs)
    error = layer.weight - torch.from_numpy(weight.dequantize())
    bias = error @ stats.mean
    bias = bias if layer.bias is None else bias + layer.bias
    return LayerPlan(scheme=name, weight=weight, bias=bias.numpy(), params=params)
