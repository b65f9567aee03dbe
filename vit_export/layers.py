"""The layer table of a model, of the kind the seed document prints, through torchinfo."""

from dataclasses import dataclass

from vit_export.spec import VitSpec


def parameters_of(spec: VitSpec) -> int:
    """The number of parameters of `spec`'s model; none is allocated."""
    import torch

    from vit_export.vit.eager import Vit

    with torch.device("meta"):
        return sum(p.numel() for p in Vit(spec).parameters())


@dataclass(frozen=True)
class Summary:
    """A printable table and the counts under it."""

    model: str
    table: str
    parameters: int
    token_parameters: int
    """Those of prefix tokens and positions, which belong to no layer: torchsummary, which the
    seed document uses, leaves them out."""


def summarize(name: str, spec: VitSpec) -> Summary:
    """The table of `spec`; model and input stand on the meta device, so it costs no memory."""
    import torch
    import torchinfo

    from vit_export.vit.eager import Vit

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
    # torchinfo counts a linear layer's multiplications once, not once per token: a wrong number
    lines = [line for line in str(statistics).splitlines() if "mult-adds" not in line]
    layerless = sum(p.numel() for p in vit.embedding.parameters(recurse=False))
    total = sum(p.numel() for p in vit.parameters())
    return Summary(name, "\n".join(lines), total, layerless)
