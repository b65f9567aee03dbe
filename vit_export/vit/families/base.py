"""What a checkpoint family is: how to recognise it and how to read it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from vit_export.spec import VitSpec

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class Family:
    """One way of naming the tensors of a ViT."""

    name: str
    recognises: Callable[[Collection[str]], bool]
    """Whether tensor names are of this family."""
    rename: Callable[[StateDict], dict[str, Tensor]]
    """The same tensors under the names of `vit.eager.Vit`."""
    describe: Callable[[nn.Module], VitSpec]
    """The spec of a live module of this family."""
