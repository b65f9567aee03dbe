"""The checkpoint families, one file each; a new one is one file and one line here."""

from vit_export.vit.families import einops
from vit_export.vit.families.base import Family

FAMILIES: tuple[Family, ...] = (
    einops.OURS,  # the names of `vit.eager.Vit`
    einops.SEED,  # nn.Sequential names of blog-style einops ViTs
)
