"""What tests of quantization share: small models, images, graphs, and answers of ONNX Runtime."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch

from vit_export.artifact.batch import Batch
from vit_export.core.progress import silent
from vit_export.graph.capture import capture
from vit_export.graph.optimize import optimize
from vit_export.graph.simplify import simplify
from vit_export.model.vit.lowering import lower
from vit_export.quantization.convert import quantize
from vit_export.quantization.layers import find_linear_layers
from vit_export.quantization.observer import collect_stats
from vit_export.quantization.plan import LayerPlan, QuantizationPlan, make_plan
from vit_export.quantization.weights import round_to_nearest

WIDE = {"image_size": (32, 32), "patch_size": 8, "width": 64, "heads": 4, "depth": 3}
"""A tiny model whose layers divide into blocks of 32 weights."""


def make_images(spec, count=6, seed=1):
    """Names and inputs (C, H, W) of normal noise."""
    random = np.random.default_rng(seed)
    shape = (spec.channels, *spec.image_size)
    return [(f"{n}.png", random.standard_normal(shape, np.float32)) for n in range(count)]


def make_batch(spec, count=6, seed=1):
    """The inputs of `make_images` as one array, (count, C, H, W)."""
    return np.stack([image for _, image in make_images(spec, count, seed)])


def run_eager(module, batch):
    """The answers of a module to `batch` (B, C, H, W)."""
    with torch.no_grad():
        return module(torch.from_numpy(batch)).numpy()


def add_outliers(vit, factor=8.0):
    """The same function with channels after its norms that are `factor` times as large.

    Trained ViTs have such channels and random ones do not; they are what breaks int8.
    """
    with torch.no_grad():
        for block in vit.blocks:
            for norm, reader in (
                (block.attention_norm, block.attention.qkv),
                (block.mlp_norm, block.mlp.expand),
            ):
                norm.weight[::16] *= factor
                norm.bias[::16] *= factor
                reader.weight[:, ::16] /= factor
    return vit


def make_graph(lowered, spec, opset=20, flavour="portable"):
    """The fp32 graph of a lowered model."""
    batch = Batch.parse("dynamic")
    model = simplify(capture(lowered, spec.signature, opset=opset, batch=batch))
    optimize(model, flavour)
    return model


def run_graph(model, batch):
    """The answers of a graph in ONNX Runtime to `batch` (B, C, H, W)."""
    proto = ir.to_proto(model)
    proto.ir_version = 10
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {"image": batch})[0]


def make_plan_for(vit, request, flavour="portable"):
    """The lowered model and its plan, calibrated on noise."""
    lowered = lower(vit, unfold="patches" in request.include)
    stats, _ = collect_stats(lowered, make_images(vit.spec), request.include)
    return lowered, make_plan(lowered, request, flavour, stats, silent)


def quantize_model(vit, request, flavour="portable", opset=20):
    """The quantized graph of a model."""
    lowered, plan = make_plan_for(vit, request, flavour)
    model = make_graph(lowered, vit.spec, opset, flavour)
    quantize(model, plan, request.precision, flavour)
    return model


def plan_without_calibration(lowered, schemes):
    """A plan with every weight rounded to the nearest step, by layer name."""
    layers = find_linear_layers(lowered)
    return QuantizationPlan(
        layers={
            name: LayerPlan(
                scheme=scheme,
                weight=round_to_nearest(layers[name].weight.numpy(), 8, None, pairs=True),
                bias=layers[name].bias.numpy(),
            )
            for name, scheme in schemes.items()
        }
    )
