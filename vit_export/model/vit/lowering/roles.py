"""What the layers of a lowered ViT are for, by their names.

Patch projection, head and the matmuls inside attention are a few percent of the arithmetic, and its
most sensitive part.
"""

from torch import nn

from vit_export.model.layered import LayerRoles, NormReaders, ValueProjection
from vit_export.model.vit.lowering.block import AttentionMatmuls

ENCODER = "blocks."
CONTRACT = "mlp.contract"
READERS = {
    "attention_norm": ("attention.qkv", "attention.query", "attention.key_value"),
    "attention.norm": ("attention.projection",),
    "mlp_norm": ("mlp.expand",),
    "mlp.norm": (CONTRACT,),
}
"""Norms of a block and the layers that may read them, by names inside the block."""
PART_PREFIXES = {"patches": "embedding.projection", "head": "head."}
"""Values of --include, each with the prefix of the layers that it adds."""


def find_roles(lowered: nn.Module, depth: int) -> LayerRoles:
    """The roles of the layers of `lowered`, a LoweredVit with `depth` blocks."""
    modules = dict(lowered.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    blocks = tuple(name for name in linear if name.startswith(ENCODER))
    norms = _find_norms(modules, blocks, depth)
    return LayerRoles(
        blocks=blocks,
        parts={
            part: tuple(name for name in linear if name.startswith(prefix))
            for part, prefix in PART_PREFIXES.items()
        },
        norms=norms,
        value_projections=_find_value_projections(blocks, norms, depth),
        attentions=tuple(
            name for name, module in modules.items() if isinstance(module, AttentionMatmuls)
        ),
        activated=frozenset(name for name in blocks if name.endswith(CONTRACT)),
    )


def _find_norms(
    modules: dict[str, nn.Module], layers: tuple[str, ...], depth: int
) -> tuple[NormReaders, ...]:
    """The LayerNorms of all blocks, each read by linear layers only."""
    norms = []
    for block in range(depth):
        for norm, parts in READERS.items():
            names = (f"{ENCODER}{block}.{part}" for part in parts)
            readers = tuple(name for name in names if name in layers)
            if isinstance(modules.get(f"{ENCODER}{block}.{norm}"), nn.LayerNorm):
                norms.append(NormReaders(f"{ENCODER}{block}.{norm}", readers))
    return tuple(norms)


def _find_value_projections(
    layers: tuple[str, ...], norms: tuple[NormReaders, ...], depth: int
) -> tuple[ValueProjection, ...]:
    """The output projection of every attention, in order, but for those behind a norm."""
    behind_norms = {reader for norm in norms for reader in norm.readers}
    projections = []
    for block in range(depth):
        scope = f"{ENCODER}{block}.attention"
        if f"{scope}.projection" in behind_norms:
            continue
        values = next(n for n in (f"{scope}.qkv", f"{scope}.key_value") if n in layers)
        projection, matmul_input = f"{scope}.projection", f"{scope}.products.values"
        projections.append(ValueProjection(values, projection, matmul_input))
    return tuple(projections)
