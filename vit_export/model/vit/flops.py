"""The FLOPs of a ViT."""

from vit_export.model.vit.spec import VitSpec


def count_flops(spec: VitSpec) -> int:
    """Return the FLOPs of the lowered model's matrix products for one image.

    A multiply-add counts as two.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vit_export.model.vit.lowering import lower
    from vit_export.model.vit.vit import Vit

    with torch.device("meta"):
        lowered = lower(Vit(spec).eval())
        image = torch.empty(1, spec.channels, *spec.image_size)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        lowered(image)
    return int(counter.get_total_flops())
