"""Which layers a scheme cannot take: they stay in fp32, and the user is told why."""

from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.errors import RequestError
from vit_export.model.layered import LayeredModule
from vit_export.quantization.layers import find_linear_layers
from vit_export.quantization.schemes import SCHEMES

FIX = "take weights-int8."


def find_kept_layers(lowered: LayeredModule, request: QuantizationRequest) -> dict[str, str]:
    """The layers whose inputs do not divide into blocks that share a scale, each with the reason.

    Raises:
        RequestError: there is no layer to quantize, or most weights would stay in fp32.
    """
    layers, scheme = find_linear_layers(lowered, request.include), SCHEMES.get(request.precision)
    if not layers:
        message = "The blocks of this model have no linear layer, and convolutions stay in fp32."
        raise RequestError(message, "take --precision fp32.")
    block = scheme.block if scheme else None
    odd = {n: one for n, one in layers.items() if block and one.in_features % block}
    reasons = {
        name: f"{layer.in_features} inputs do not divide into blocks of {block} weights"
        for name, layer in odd.items()
    }
    total, kept = (sum(one.weight.numel() for one in some.values()) for some in (layers, odd))
    if kept > total / 2:
        name = max(odd, key=lambda one: odd[one].weight.numel())
        raise RequestError(f"The {reasons[name].replace('inputs', f'inputs of {name}')}.", FIX)
    return reasons
