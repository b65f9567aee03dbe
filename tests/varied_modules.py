"""Libraries' modules with every weight moved, so that no part of them is neutral."""

import torch


@torch.no_grad()
def vary(module):
    """The same module with no weight left at zero."""
    generator = torch.Generator().manual_seed(1)
    for one in module.parameters():
        one.add_(0.1 * torch.randn(one.shape, generator=generator))
    return module.eval()
