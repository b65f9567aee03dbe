"""LoRA adapters of PEFT, merged into the checkpoint that they belong to.

An adapter holds two thin matrices A and B for each layer that it changes: the layer's weight
becomes W + scale · B A, which is computed in fp32. Layers that were trained whole replace those of
the base.
Source: peft/tuners/lora/layer.py and config.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from vit_export.checkpoints.families import recognize
from vit_export.checkpoints.families.translation import translate_name
from vit_export.core.errors import RequestError

CONFIG_FILE = "adapter_config.json"
START = "base_model.model."
"""What PEFT puts before the name of a tensor."""
A, B, BIAS = ".lora_A.weight", ".lora_B.weight", ".lora_B.bias"
MATRIX = re.compile(r"\.lora_(A|B|embedding_A)\b")
VARIANTS = (
    *("use_dora", "use_qalora", "use_bdlora", "arrow_config", "kasa_config", "velora_config"),
    *("monteclora_config", "alora_invocation_tokens", "trainable_token_indices"),
    *("target_parameters", "layer_replication", "megatron_config"),
)
"""Settings of adapters that compute something else than W + scale · B A."""
PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of init_lora_weights that leave the base as it is."""
MAX_WRAPPERS = 4
"""Most words before a layer's name that the base may lack, and one."""
CLASSIFIER = "head.classifier.weight"
LABELS = ("id2label", "label2id", "label_names", "label_descriptions")


@dataclass(frozen=True)
class Lora:
    """The settings of an adapter that its arithmetic depends on."""

    alpha: float
    alphas: Mapping[str, float]
    """Another alpha for layers whose names end so, or begin and end so after a `^`."""
    takes_root: bool
    """Whether the scale is alpha / sqrt(rank), in place of alpha / rank."""
    transposed: bool
    """Whether the layers keep their weights with the inputs first."""

    def find_scale(self, layer: str, rank: int) -> float:
        """Return the factor of B A for a layer."""
        alpha = self.alpha
        for name, value in self.alphas.items():
            if layer == name.removeprefix("^") or layer.endswith(f".{name}"):
                alpha = value
                break
        return alpha / (sqrt(rank) if self.takes_root else rank)


def holds_lora(content: object) -> bool:
    """Return whether a file holds matrices of LoRA."""
    return isinstance(content, dict) and any(MATRIX.search(str(name)) for name in content)


def parse_lora(config: Mapping[str, Any], where: Path) -> Lora:
    """Return the settings in an adapter_config.json.

    Raises:
        RequestError: it is of another kind than plain LoRA, or a setting is no number.
    """
    kind = config.get("peft_type")
    start = config.get("init_lora_weights")
    variants = [f"LoRA with {name}" for name in VARIANTS if config.get(name)]
    if start not in PLAIN_STARTS:
        variants.append(f"LoRA that started from {start}")
    if kind != "LORA":
        variants.insert(0, str(kind))
    if variants:
        message = f"{where} is an adapter of the kind {variants[0]}, which is not supported yet."
        raise RequestError(message, explain_merge(config))
    patterns = config.get("alpha_pattern") or {}
    try:
        alphas = {str(name): float(value) for name, value in patterns.items()}
        alpha = float(config["lora_alpha"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"{where}: its {CONFIG_FILE} has no usable lora_alpha ({error!r})."
        raise RequestError(message, "copy it again.") from None
    if not all(name.removeprefix("^").replace(".", "_").isidentifier() for name in alphas):
        message = f"{where}: alpha_pattern has a regular expression, which is not supported yet."
        raise RequestError(message, explain_merge(config))
    return Lora(alpha, alphas, bool(config.get("use_rslora")), bool(config.get("fan_in_fan_out")))


def explain_merge(config: Mapping[str, Any]) -> str:
    """Return the advice to merge an adapter with PEFT."""
    base = config.get("base_model_name_or_path") or "its base"
    return (
        f"load {base} as for the training, merge them with PEFT: model = PeftModel.from_pretrained("
        "base, ADAPTER).merge_and_unload(), and save it: torch.save(model.state_dict(), 'w.pth')."
    )


def merge(
    adapter: Mapping[str, Tensor], lora: Lora, base: Mapping[str, Tensor], where: Path
) -> dict[str, Tensor]:
    """Return the tensors of `base` with those of an adapter merged into them.

    Raises:
        RequestError: the base has no such layer, or one of another shape.
    """
    merged = dict(base)
    find = _Finder(base)
    layers = {name.removeprefix(START): tensor for name, tensor in adapter.items()}
    for name in sorted(layers, key=lambda name: ("lora_" in name, name)):  # changes come last
        tensor = layers[name]
        if name.endswith(A):
            layer = name.removesuffix(A)
            low = _require(layers, layer + B, where)
            scale = lora.find_scale(layer, len(tensor))
            target = find.require(f"{layer}.weight", where)
            merged[target] = _add(merged[target], tensor, low, scale, lora, f"{where}: {layer}")
            if layer + BIAS in layers:
                target = find.require(f"{layer}.bias", where)
                merged[target] = merged[target].float() + scale * layers[layer + BIAS].float()
        elif "lora_" not in name:
            plain = name.replace(".base_layer.", ".")
            merged[find(plain) or plain] = tensor
        elif not name.endswith((B, BIAS)):
            message = f"{where}: {name} is a part of LoRA that is not supported yet."
            raise RequestError(message, explain_merge({}))
    return merged


def _add(  # noqa: PLR0917 the names of the formula
    weight: Tensor, high: Tensor, low: Tensor, scale: float, lora: Lora, where: str
) -> Tensor:
    """Return W + scale · B A in fp32; a convolution has its kernel in A."""
    rows, columns = low.flatten(1).float(), high.flatten(1).float()
    fits = rows.shape[1] == len(columns) and len(rows) * columns.shape[1] == weight.numel()
    change = rows @ columns if fits else weight[:0]
    change = change.T if lora.transposed else change
    if len(change) != len(weight):
        message = f"{where}: its matrices are {tuple(low.shape)} and {tuple(high.shape)}, and the "
        message += f"weight of the base is {tuple(weight.shape)}."
        raise RequestError(message, "give the --base that the adapter was trained on.")
    return weight.float() + scale * change.reshape(weight.shape)


def _require(layers: Mapping[str, Tensor], name: str, where: Path) -> Tensor:
    if name not in layers:
        raise RequestError(f"{where}: {name} is missing.", "copy the adapter again.")
    return layers[name]


class _Finder:
    """Finds a tensor of the base by the name that the adapter gives it.

    A library may name a layer differently in memory, which the adapter follows, and in files.
    """

    def __init__(self, base: Mapping[str, Tensor]) -> None:
        self._names = {name: name for name in base}
        family = recognize(base.keys())
        self._table = family.names if family else {}
        self._ours = {translate_name(self._table, name): name for name in base}

    def __call__(self, name: str) -> str | None:
        words = name.split(".")
        # the adapter may name a wrapper that the file lacks
        for start in range(min(MAX_WRAPPERS, len(words) - 1)):
            rest = ".".join(words[start:])
            known = self._names.get(rest) or self._ours.get(translate_name(self._table, rest))
            if known is not None:
                return known
        return None

    def require(self, name: str, where: Path) -> str:
        """Return the name in the base; raise RequestError if it has no such tensor."""
        known = self(name)
        if known is None:
            message = f"{where} changes {name}, and the base has no such tensor."
            raise RequestError(message, "give the --base that the adapter was trained on.")
        return known


def replace_labels(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the base's config.json for the classes of a classifier that the adapter brought."""
    family = recognize(tensors.keys())
    table = family.names if family else {}
    rows = [len(one) for name, one in tensors.items() if translate_name(table, name) == CLASSIFIER]
    labels = config.get("id2label") or config.get("label_names") or ()
    if not rows or len(labels) == rows[0]:
        return dict(config)
    rest = {name: value for name, value in config.items() if name not in LABELS}
    count = "num_classes" if "architecture" in config else "num_labels"  # timm, transformers
    return {**rest, count: rows[0]} if config else rest
