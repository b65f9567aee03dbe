"""The eager model in PyTorch, as it is and compiled."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vit_export.bench.candidates import Contestant, Opened, Run
from vit_export.core.numerics import Array
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and an artifact is served without it
    from vit_export.model.vit.vit import Vit


def eager(contestant: Contestant) -> Opened:
    """The eager model."""
    import torch

    return in_torch(vit_of(contestant)), f"torch {torch.__version__}"


def compiled(contestant: Contestant) -> Opened:
    """The eager model under torch.compile, which works at the first call."""
    import torch

    return in_torch(torch.compile(vit_of(contestant))), f"torch.compile {torch.__version__}"


def vit_of(contestant: Contestant) -> "Vit":
    """The contestant's model, on its number of threads."""
    set_threads(contestant)
    spec = VitSpec.from_mapping(contestant.spec or {}, contestant.name)
    return made_vit(spec, contestant.weights)


def made_vit(spec: VitSpec, weights: str) -> "Vit":
    """The eager model with these weights, or with random ones."""
    from safetensors.torch import load_file

    from vit_export.model.vit.state import fill, random_vit

    return fill(spec, load_file(weights), weights) if weights else random_vit(spec, 0)


def set_threads(contestant: Contestant) -> None:
    """PyTorch's own default, where the contestant names no number."""
    import torch

    if contestant.threads:
        torch.set_num_threads(contestant.threads)


def in_torch(module: Callable[[Any], Any]) -> Run:
    """`module` on NumPy arrays, without what only training needs."""
    import torch

    def run(images: Array) -> Array:
        with torch.inference_mode():
            answers: Array = module(torch.from_numpy(images)).numpy()
        return answers

    return run
