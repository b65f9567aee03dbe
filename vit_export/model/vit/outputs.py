"""Another answer of the same model: its features, or all its tokens, without the classifier."""

from dataclasses import replace
from typing import Any

import torch

from vit_export.core.errors import RequestError
from vit_export.model.vit.state import fill
from vit_export.model.vit.vit import Vit

CHANGES: dict[str, dict[str, Any]] = {
    "features": {"classes": None},
    "tokens": {"classes": None, "projection": None, "pool": "none", "norm_after_pool": False},
}
"""Of the spec, by what is wanted. Tokens stand after the norm over all of them, where there is one;
a norm behind the pool goes with it."""


def with_outputs(vit: Vit, outputs: str) -> Vit:
    """`vit` with another answer; the weights it keeps are shared with it.

    Raises:
        RequestError: the model has no such answer.
    """
    if outputs == vit.spec.answer:
        return vit
    if outputs not in CHANGES or vit.spec.pool == "none":
        message = f"The model answers {vit.spec.answer}, and has no {outputs}."
        raise RequestError(message, "leave --outputs out.")
    spec = replace(vit.spec, **CHANGES[outputs])
    with torch.device("meta"):
        names = Vit(spec).state_dict().keys()
    kept = {name: tensor for name, tensor in vit.state_dict().items() if name in names}
    return fill(spec, kept, f"the model without its {vit.spec.answer}")
