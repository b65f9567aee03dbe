"""The plan of an earlier search, repeated for the same or a newly trained model."""

from collections.abc import Mapping

from vit_export.artifact.precision import QuantizationRequest
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.progress import Progress
from vit_export.model.layered import LayeredModule
from vit_export.quantization.layers import find_linear_layers
from vit_export.quantization.mixed_precision import combine, plan_schemes, smooth
from vit_export.quantization.observer import LayerStats
from vit_export.quantization.pareto import Assignment
from vit_export.quantization.plan import QuantizationPlan
from vit_export.quantization.schemes import SCHEMES

FIX = "give --plan a file of the same architecture, exported with the same --include."


def repeat_plan(
    lowered: LayeredModule,
    request: QuantizationRequest,
    stats: LayerStats,
    schemes: Mapping[str, str],
    progress: Progress,
) -> QuantizationPlan:
    """Return the plan that a search returns when it chooses these schemes.

    Args:
        lowered: the module; smoothing changes its weights in place, but not its function.
        request: the request, with the parts to quantize.
        stats: statistics of the layers of `lowered`; they change with it.
        schemes: the scheme of each quantized layer, by layer name.
        progress: shows every stage.

    Raises:
        RequestError: a layer or a scheme is unknown.
    """
    _check(schemes, find_linear_layers(lowered, request.include))
    layers = smooth(lowered, request, stats, progress)
    with progress("round weights") as report_share:
        quantized = {name: layer for name, layer in layers.items() if name in schemes}
        names = sorted(set(schemes.values()))
        plans = plan_schemes(quantized, stats, names, report_share)
    ordered = {name: schemes[name] for name in quantized}
    return combine(Assignment(ms=0.0, noise=0.0, schemes=ordered), plans)


def _check(schemes: Mapping[str, str], layers: Mapping[str, object]) -> None:
    for layer, scheme in schemes.items():
        if layer not in layers:
            raise RequestError(f"The model has no layer {layer!r} to quantize.", FIX)
        if scheme not in SCHEMES:
            raise RequestError(f"There is no scheme {scheme!r}.", did_you_mean(scheme, SCHEMES))
