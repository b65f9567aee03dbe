"""Names of tensors without what wrappers put before them, and the prefix that the user chooses."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vit_export.checkpoints.families import recognize
from vit_export.checkpoints.leftovers import find_leftovers

PREFIXES = ("module.", "_orig_mod.", "model.", "timm_model.", "visual.trunk.")
"""Prefixes of DataParallel, torch.compile, Lightning, TimmWrapper and open_clip's timm towers."""
INNER = re.compile(r"(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
"""Words that FSDP, activation checkpointing and torch.compile put inside a name."""
MAX_WORDS = 3
"""Most words of a prefix that is looked for."""
MIN_TENSORS = 4
"""Fewest tensors of a model that is looked for."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of a weights file, and the keys under which a pickle keeps them."""

    tensors: dict[str, Tensor]
    keys: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)
    """Names in the file of tensors that were left out, each with the reason."""


def unwrap(tensors: Mapping[str, Tensor]) -> Weights:
    """Return the tensors under the names that they have without wrappers and without leftovers."""
    plain = {INNER.sub("", name): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):
        plain = dict(tensors)
    unused: dict[str, str] = {}
    path = ""
    while True:
        leftovers = find_leftovers(plain)
        unused |= {path + name: reason for name, reason in leftovers.items()}
        plain = {name: tensor for name, tensor in plain.items() if name not in leftovers}
        prefix = _find_wrapper(plain)
        if not prefix:
            return Weights(plain, unused=unused)
        plain = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
        path += prefix


def _find_wrapper(names: Collection[str]) -> str:
    """Return the prefix that all names share and no family needs; empty if there is none."""
    for prefix in PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    shared = {name.partition(".")[0] for name in names}
    if len(shared) != 1 or recognize(names):
        return ""
    prefix = f"{shared.pop()}."
    rest = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    is_wrapper = len(rest) == len(names) and (recognize(rest) or list_towers(rest))
    return prefix if is_wrapper else ""


def list_towers(names: Collection[str]) -> list[str]:
    """Return the prefixes under which `names` hold a model of a known family, outermost ones."""
    groups: dict[str, list[str]] = {}
    for name in names:
        words = name.split(".")
        for length in range(1, min(MAX_WORDS, len(words) - 1) + 1):
            prefix = ".".join(words[:length]) + "."
            groups.setdefault(prefix, []).append(name.removeprefix(prefix))
    towers: list[str] = []
    for prefix in sorted(groups, key=lambda one: one.count(".")):
        is_inside = any(prefix.startswith(tower) for tower in towers)
        if not is_inside and len(groups[prefix]) >= MIN_TENSORS and recognize(groups[prefix]):
            towers.append(prefix)
    return towers
