"""Modules of three libraries that `--module` takes, or refuses with the true cause.

    vit-export onnx --module tests/module_zoo.py:build --set name=timm:levit_128s \
        --image-size 224 --out levit.onnx

`scripts/sweep modules` proves each of them; `scripts/module_speeds.py` times them.
"""

from functools import partial

import seed_vit
import torch
import zoo_timm
import zoo_transformers
import zoo_vit_pytorch
from torch import nn
from zoo_module import ZooModule

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SEED = ZooModule(create=partial(seed_vit.ViT, emb_size=384, num_heads=6))
ZOO = {"seed:ViT": SEED}
ZOO |= zoo_vit_pytorch.MODELS | zoo_timm.MODELS | zoo_transformers.MODELS
"""Modules by `LIBRARY:NAME`."""


def build(name: str) -> nn.Module:
    """Return a module of the zoo in eval mode, with random weights of which none is degenerate.

    The answers of a fresh module hardly depend on the image, and would prove nothing.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = ZOO[name].create()
        vary_constants(module)
        norms = [one for one in module.modules() if isinstance(one, BATCH_NORMS)]
        if norms:
            settle(norms, module, 3 * torch.randn(8, *ZOO[name].shape))
        else:
            enlarge_weights(module)
    return module.eval().requires_grad_(False)


def vary_constants(module: nn.Module) -> None:
    """Change parameters that are one constant, as zeros and ones are."""
    for one in module.parameters():
        if float(one.max()) == float(one.min()):
            one.add_(0.02 * torch.randn(one.shape))


def settle(norms: list[nn.Module], module: nn.Module, images: torch.Tensor) -> None:
    """Give batch norms the statistics of random images, as training does."""
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, of which there is one
    module.train()(images)


def enlarge_weights(module: nn.Module) -> None:
    """Give products a gain of one half at least; many fresh ones have less."""
    for one in module.parameters():
        if one.dim() > 1:
            one.mul_(max(1, 0.5 / float(one.std() * one[0].numel() ** 0.5)))
