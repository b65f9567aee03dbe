"""One state dict out of what a pickle holds, which may be several models, each under its keys.

The rule: averaged weights (`ema`, `model_ema`, `swa`) come before the raw ones that they belong to,
as in timm. Where several other keys hold a model, such as a student and its teacher, nobody but the
user knows which one is meant: `--prefix` names it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from vit_export.checkpoints.families import recognize
from vit_export.checkpoints.wrappers import Weights, list_towers, unwrap
from vit_export.core.errors import RequestError

AVERAGED = re.compile(r"(?:[a-z\d]+_)*(?:ema|swa|averaged)(?:_[a-z\d]+)*")
"""Keys of weights that were averaged over the training."""
TRAINING = re.compile(
    r"(?i)(?:\w*_)?(?:optim\w*|opt|schedulers?|lr_schedulers?|scaler|callbacks|loops|criterion|loss"
    r"|rng\w*|hyper_parameters|history|args)(?:_\w+)?"
)
"""Keys of what a training needs to go on, which may hold tensors as well."""
BESIDE = re.compile(r"predictor|decoder|dino_head|ibot_head|projector|discriminator|queue")
"""Keys of parts that only the training uses."""
MAX_DEPTH = 4
"""Maximum number of nested keys, since a pickle may contain itself."""
MAX_NAMES = 5
"""Number of keys, models or tensors that one error lists."""
MAX_TENSORS = 20_000
"""Most tensors of a checkpoint: the largest published ViTs have about a thousand."""
PAIR = 2
"""Number of models of a file that holds raw and averaged weights."""


@dataclass(frozen=True, eq=False)
class StateDict:
    """A dictionary of tensors inside a file."""

    keys: tuple[str, ...]
    """Its keys in the file, outermost first."""
    tensors: Mapping[str, Tensor]

    @property
    def prefix(self) -> str:
        """The value of `--prefix` that reads it."""
        return "".join(f"{key}." for key in self.keys)

    @cached_property
    def weights(self) -> Weights:
        """The tensors without wrappers and leftovers."""
        return unwrap(self.tensors)

    @cached_property
    def towers(self) -> list[str]:
        """Prefixes of its models; an empty one if it is a model itself."""
        names = self.weights.tensors.keys()
        return [""] if recognize(names) else list_towers(names)

    @property
    def is_averaged(self) -> bool:
        """Whether it holds averaged weights, by its keys."""
        return any(AVERAGED.fullmatch(key.lower()) for key in self.keys)


def choose_state_dict(
    content: object, prefix: str | None, path: Path, head_from: str | None = None
) -> Weights:
    """Return the one model that a file holds, or the one with a prefix.

    Args:
        content: the content of the file.
        prefix: prefix of the tensors to read, keys included; None reads the only model.
        path: the file, for errors.
        head_from: name of a module that is read too where it has not the prefix.

    Raises:
        RequestError: there is no state dict, there are several models, or no tensor has the prefix.
    """
    states = list(iterate_state_dicts(content))
    if not states:
        message = f"{path} does not hold a state dict{_list_keys(content)}."
        raise RequestError(message, "save model.state_dict(), and nothing else.")
    count = sum(len(one.tensors) for one in states)
    if count > MAX_TENSORS:
        message = f"{path} holds {count:,} tensors, and {MAX_TENSORS:,} is the most."
        raise RequestError(message, "save the state dict of one model.")
    if prefix is None:
        return _choose_model(states, path)
    prefix = f"{prefix.removesuffix('.')}."
    selections = [one for state in states if (one := select_prefix(state, prefix, head_from))]
    if not selections:
        first = ", ".join([one.prefix + name for one in states for name in one.tensors][:MAX_NAMES])
        message = f"{path}: no tensor begins with {prefix!r}; the first are {first}."
        raise RequestError(message, "give --prefix as the names begin, or leave --prefix out.")
    weights = _choose_model([one for one, _ in selections], path)
    unused = {name: f"it is not under {prefix}" for _, names in selections for name in names}
    return replace(weights, unused={**weights.unused, **unused})


def iterate_state_dicts(content: object) -> Iterator[StateDict]:
    """Yield the state dicts inside nested dictionaries, with their keys."""
    yield from _iterate(content, (), set())


def _iterate(content: object, keys: tuple[str, ...], ids: set[int]) -> Iterator[StateDict]:
    if not isinstance(content, dict) or id(content) in ids:
        return
    ids.add(id(content))
    tensors = {str(name): one for name, one in content.items() if isinstance(one, Tensor)}
    state = StateDict(keys, tensors)
    if tensors and (len(tensors) == len(content) or state.towers):
        yield state
    for key, value in content.items():
        if isinstance(key, str) and len(keys) < MAX_DEPTH and not TRAINING.fullmatch(key):
            yield from _iterate(value, (*keys, key), ids)


def select_prefix(
    state: StateDict, prefix: str, head_from: str | None
) -> tuple[StateDict, list[str]] | None:
    """Return the tensors with a prefix, and the names of those without; None if all are without.

    The prefix may be of the names with the keys, without them, or without wrappers.
    """
    if state.prefix.startswith(prefix):
        return state, []
    inside = prefix.removeprefix(state.prefix)
    for names in (state.tensors, state.weights.tensors):
        for start in dict.fromkeys((inside, prefix)):
            selection = {n.removeprefix(start): t for n, t in names.items() if n.startswith(start)}
            if selection:
                rest = [name for name in names if not name.startswith(start)]
                head = [name for name in rest if head_from and name.startswith(f"{head_from}.")]
                selection |= {name: names[name] for name in head if name not in selection}
                others = [name for name in rest if name not in selection]
                return StateDict((*state.keys, start.removesuffix(".")), selection), others
    return None


def _choose_model(states: Sequence[StateDict], path: Path) -> Weights:
    """Return the only model, or its averaged weights; raise RequestError if there are several."""
    models = [one for one in states if one.towers]
    averaged = [one for one in models if one.is_averaged]
    if len(averaged) == 1 and len(models) <= PAIR:
        models = averaged
    if not models and len(states) == 1:
        models = list(states)
    if len(models) != 1:
        raise _ask([one.prefix for one in models or states], path)
    (model,) = models
    if len(model.towers) > 1:
        raise _ask(model.towers, path)
    unused = dict(model.weights.unused)
    for one in states:
        if one is not model:
            reason = _explain_unused(one, model, path)
            unused |= {one.prefix + name: reason for name in one.tensors}
    return replace(model.weights, keys=model.keys, unused=unused)


def _ask(prefixes: Sequence[str], path: Path) -> RequestError:
    """Return the question which of several models is meant."""
    more = ", …" if len(prefixes) > MAX_NAMES else ""
    listing = ", ".join(repr(one) if one else "the top" for one in prefixes[:MAX_NAMES]) + more
    message = f"{path} holds several models or parts of one, under {listing}."
    first = next(one for one in prefixes if one)
    return RequestError(message, f"name the one to read, such as --prefix {first}")


def _explain_unused(other: StateDict, model: StateDict, path: Path) -> str:
    """Return why the tensors of `other` are left out.

    Raises:
        RequestError: they may be a part of the model, such as its classifier.
    """
    if other.towers:
        return f"another model of the file, which --prefix {other.prefix} reads"
    if other.keys and BESIDE.fullmatch(other.keys[-1]):
        return "it belongs to a part that only the training uses"
    if all(tensor.numel() == 1 for tensor in other.tensors.values()):
        return "it is a number of the training"
    first = ", ".join(list(other.tensors)[:MAX_NAMES])
    message = f"{path} holds a model under {model.prefix or 'its top'} and tensors under "
    message += f"{other.prefix or 'its top'} ({first}), which may be a part of it."
    fix = "save the state dict of the whole model"
    alone = f"give --prefix {model.prefix} to read that model alone, or " if model.prefix else ""
    raise RequestError(message, f"{alone}{fix}.")


def _list_keys(content: object) -> str:
    if not isinstance(content, dict):
        return ""
    names = [str(name) for name in content][:MAX_NAMES]
    return f"; it holds {', '.join(names)}{', …' if len(content) > MAX_NAMES else ''}"
