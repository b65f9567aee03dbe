"""The outputs that a Vision Transformer can have besides its own answer, by their names.

`logits` and `features` are what the pooled vector gives, with the classifier and without it.
`tokens` are all tokens behind the last block and the final norm; `token` is the class token of
them, and `patches` are those behind the prefix tokens. `layer_3` is what the third block answers,
the `hidden_states[3]` of transformers, and `normed_layer_3` is that behind the final norm.
`attention_3` is the softmax of the third block's attention.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vit_export.core.errors import RequestError
from vit_export.model.signature import BATCH, Meaning, TensorSpec

if TYPE_CHECKING:
    from vit_export.model.vit.spec import VitSpec

PLAIN: dict[str, Meaning] = {
    "logits": "logits",
    "features": "features",
    "tokens": "tokens",
    "token": "features",
    "patches": "tokens",
}
"""The outputs of the last block, with their meanings."""
NUMBERED: dict[str, Meaning] = {"layer": "tokens", "normed_layer": "tokens", "attention": "tensor"}
"""The outputs that each block has, with their meanings."""
BLOCK = re.compile(rf"(?P<kind>{'|'.join(NUMBERED)})_(?P<number>[1-9]\d{{0,3}})", re.ASCII)
MOST = 64
"""Most outputs of one model."""


@dataclass(frozen=True)
class VitOutput:
    """One output: its kind, and the number of its block, from 1; 0 behind all blocks."""

    kind: str
    block: int = 0


def read_output(name: str) -> VitOutput | None:
    """Return the output that a name means; None for other names."""
    if name in PLAIN:
        return VitOutput(name)
    match = BLOCK.fullmatch(name)
    return VitOutput(match["kind"], int(match["number"])) if match else None


def check_outputs(spec: "VitSpec") -> None:
    """Raise RequestError unless a model of `spec` has each of its outputs, and each once."""
    if len(spec.outputs) > MOST:
        raise RequestError(f"{len(spec.outputs)} outputs are too many.", f"name {MOST} at most.")
    for name in spec.outputs:
        output = read_output(name)
        if output is None or not _has(spec, output):
            message = f"the model has no output {name!r}."
            raise RequestError(message, f"its outputs are {list_outputs(spec)}.")
        if spec.outputs.count(name) > 1:
            raise RequestError(f"outputs has {name!r} twice.", "name each output once.")


def _has(spec: "VitSpec", output: VitOutput) -> bool:
    if output.kind == "logits":
        return spec.classifies
    if output.kind == "features":
        return spec.pool != "none"
    if output.kind == "token":
        return spec.class_token
    if output.kind == "normed_layer" and not spec.norm_before_pool:
        return False
    return output.block <= spec.depth


def list_outputs(spec: "VitSpec") -> str:
    """Return the outputs that a model of `spec` can have, in words."""
    names = [name for name in PLAIN if _has(spec, VitOutput(name))]
    names.append(f"layers:1 to layers:{spec.depth}")
    if spec.norm_before_pool:
        names.append(f"normed-layers:1 to normed-layers:{spec.depth}")
    return f"{', '.join(names)}, and attentions:1 to attentions:{spec.depth}"


def describe_output(spec: "VitSpec", name: str) -> TensorSpec:
    """Return name, shape and meaning of an output of a model of `spec`.

    Raises:
        ValueError: there is no such output.
    """
    output = read_output(name)
    if output is None:
        raise ValueError(f"{name} is no output")
    shapes: dict[str, tuple[int, ...]] = {
        "logits": (spec.classes or 0,),
        "features": (spec.projection or spec.pooled_width,),
        "token": (spec.width,),
        "patches": (spec.patches, spec.width),
        "attention": (spec.heads, spec.tokens, spec.tokens),
    }
    shape = shapes.get(output.kind, (spec.tokens, spec.width))
    meaning = (PLAIN | NUMBERED)[output.kind]
    return TensorSpec(name=name, dtype="float32", shape=(BATCH, *shape), meaning=meaning)
