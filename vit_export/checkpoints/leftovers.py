"""Tensors that training leaves beside a model, by their names, each with the reason it is unused.

They say nothing about the answers: a loss, a metric, a counter, a head that compares crops. A name
that stands for more than one thing is not on this list.
"""

import re
from collections.abc import Mapping

from torch import Tensor

COUNTER = re.compile(r"n_averaged|(global_)?step|epoch|iteration|num_updates|initted")
COUNTS = "it counts steps of the training"
BY_NAME = {
    r"(\w*_)?(criterion|loss|loss_fn|loss_func|metric|metrics)(_\w+)?\..*": (
        "it belongs to a loss or a metric"
    ),
    r"(train|val|valid|validation|test)_\w+\..*": "it belongs to a loss or a metric",
    r"class_weights?|pos_weight|loss_weights?": "the loss weighs classes by it",
    r"decoder_(pos_embed|embed\..*|blocks\..*|norm\..*|pred\..*)": (
        "MAE's decoder paints hidden patches, in training only"
    ),
    r"(dino|ibot)_head\..*": "it compares crops, in training only",
}
"""Patterns of whole names to the reason why the model does not need such a tensor."""
LAST_LAYER = re.compile(r"((?:.*\.)?head\.)last_layer\..*")
"""DINO's head, which no classifier has: a layer whose weights are normalized."""


def find_leftovers(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of tensors that training leaves beside a model, each with the reason."""
    heads = {match[1] for name in tensors if (match := LAST_LAYER.fullmatch(name))}
    leftovers = {}
    for name, tensor in tensors.items():
        reason = next((why for key, why in BY_NAME.items() if re.fullmatch(key, name)), None)
        if reason is None and tensor.numel() == 1 and COUNTER.fullmatch(name):
            reason = COUNTS
        if reason is None and name.startswith(tuple(heads)):
            reason = "it compares crops, in training only"
        if reason is not None:
            leftovers[name] = reason
    return leftovers
