"""The layer table of a ViT, as the seed document prints it, made by torchinfo."""

from dataclasses import dataclass

from vit_export.model.vit.spec import VitSpec


def count_parameters(spec: VitSpec) -> int:
    """Return the number of parameters of a model of `spec`, without torch, which a device lacks."""
    width, norm = spec.width, 2 * spec.width
    pixels = spec.channels * spec.patch_size**2
    embedding = _linear(pixels, width, bias=spec.patch_bias)
    embedding += (spec.prefix_tokens + spec.positioned) * width
    attention = _linear(width, 3 * width, bias=spec.qkv_bias) + _linear(width, width)
    block = attention + _count_mlp(spec, spec.hidden) + 2 * norm + 2 * width * spec.layer_scale
    block += norm * spec.norm_in_attention + 2 * spec.hidden * spec.norm_in_mlp
    if spec.rotary is not None and spec.rotary.frequencies == "learned":
        block += width
    pool = width + attention + norm + _count_mlp(spec, spec.pool_hidden or spec.hidden)
    head = pool if spec.pool == "map" else 0
    head += norm * (spec.norm_before_blocks + spec.norm_before_pool + spec.norm_after_pool)
    if spec.projection is not None:
        head += _linear(spec.pooled_width, spec.projection, bias=False)
    if spec.classes is not None:
        heads = 1 + spec.distillation_token
        head += heads * _linear(spec.pooled_width, spec.classes, bias=spec.head_bias)
    return embedding + spec.depth * block + head


def _count_mlp(spec: VitSpec, hidden: int) -> int:
    widened = hidden * (2 if spec.mlp == "swiglu" else 1)
    return _linear(spec.width, widened) + _linear(hidden, spec.width)


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    return (inputs + bias) * outputs


@dataclass(frozen=True)
class Summary:
    """A layer table and the parameter counts under it."""

    model: str
    table: str
    parameters: int
    """All parameters."""
    token_parameters: int
    """Parameters of prefix tokens and positions.

    They belong to no layer. torchsummary, which the seed document uses, leaves them out.
    """


def summarize(name: str, spec: VitSpec) -> Summary:
    """Return the layer table of `spec`; the model stands on the meta device and takes no memory."""
    import torch
    import torchinfo

    from vit_export.model.vit.vit import Vit

    with torch.device("meta"):
        vit = Vit(spec).eval()
        image = torch.empty(1, spec.channels, *spec.image_size)
    statistics = torchinfo.summary(
        vit,
        input_data=image,
        device="meta",
        depth=5,
        col_names=("output_size", "num_params"),
        row_settings=("depth", "var_names"),
        verbose=0,
    )
    # torchinfo counts the multiplications of a linear layer once, instead of once per token
    lines = [line for line in str(statistics).splitlines() if "mult-adds" not in line]
    layerless = sum(p.numel() for p in vit.embedding.parameters(recurse=False))
    total = sum(p.numel() for p in vit.parameters())
    return Summary(name, "\n".join(lines), total, layerless)
