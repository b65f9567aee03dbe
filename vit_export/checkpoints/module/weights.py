"""The weights of a user's module: the state dict in a file that has exactly its names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from vit_export.checkpoints.files import read_content
from vit_export.checkpoints.leftovers import find_leftovers
from vit_export.checkpoints.nesting import StateDict, iterate_state_dicts, select_prefix
from vit_export.checkpoints.quantized import check_form
from vit_export.checkpoints.wrappers import INNER, PREFIXES
from vit_export.core.errors import RequestError

MAX_NAMES = 5
"""Number of tensors that one error lists."""
PAIR = 2
"""Number of state dicts of a file that holds raw and averaged weights."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A state dict beside the names of a module."""

    keys: tuple[str, ...]
    """Its keys in the file, outermost first."""
    tensors: Mapping[str, Tensor]
    """By the names that they have without wrappers."""
    is_averaged: bool
    missing: tuple[str, ...]
    """Names of the module that the file lacks."""
    unexpected: tuple[str, ...]
    """Names of the file that the module lacks."""
    shapes: tuple[str, ...]
    """A phrase for each tensor of another shape."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Tensors that training leaves beside a model, each with the reason."""

    @property
    def is_exact(self) -> bool:
        """Whether every tensor has its place, and none is missing."""
        return not (self.missing or self.unexpected or self.shapes)

    @property
    def misfits(self) -> int:
        """Number of tensors that do not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    @property
    def prefix(self) -> str:
        """The value of `--prefix` that reads it."""
        return "".join(f"{key}." for key in self.keys)


def load_weights(module: nn.Module, path: Path, prefix: str | None, name: str) -> Fit:
    """Load the weights at `path` into `module`, in place; return the state dict they came from.

    Args:
        module: the module to fill.
        path: a checkpoint file or folder.
        prefix: prefix of the tensors to read; None reads the only state dict that fits.
        name: the module's name, for errors.

    Raises:
        RequestError: the checkpoint can't be read, or its names or shapes are not the module's, or
            several of its state dicts fit.
    """
    file, content = read_content(path)
    states = list(iterate_state_dicts(content))
    if prefix is not None:
        prefix = f"{prefix.removesuffix('.')}."
        states = [one for one, _ in filter(None, (select_prefix(s, prefix, None) for s in states))]
    if not states:
        message = f"{file} does not hold a state dict" + (f" under {prefix}." if prefix else ".")
        raise RequestError(message, "save model.state_dict(), or check --prefix.")
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    fits = [one for state in states for one in _compare(state, expected)]
    check_form((key for state in states for key in state.tensors), path)
    fit = _choose(fits, file)
    if not fit.is_exact:
        raise _describe_misfits(fit, file, name)
    module.load_state_dict({key: fit.tensors[key] for key in expected})
    return fit


def _compare(state: StateDict, expected: Mapping[str, tuple[int, ...]]) -> Iterator[Fit]:
    """Yield how the tensors fit under their own names, and under those without wrappers."""
    for tensors in _unwrap(state.tensors):
        others = {key: one for key, one in tensors.items() if key not in expected}
        leftovers = find_leftovers(others)
        yield Fit(
            keys=state.keys,
            tensors=tensors,
            is_averaged=state.is_averaged,
            missing=tuple(key for key in expected if key not in tensors),
            unexpected=tuple(key for key in others if key not in leftovers),
            shapes=tuple(
                f"{key} {tuple(tensors[key].shape)} instead of {shape}"
                for key, shape in expected.items()
                if key in tensors and tuple(tensors[key].shape) != shape
            ),
            unused=leftovers,
        )


def _unwrap(tensors: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Yield the tensors as they are named, and without one wrapper after the other."""
    yield tensors
    plain = {INNER.sub("", key): one for key, one in tensors.items()}
    if plain.keys() != tensors.keys() and len(plain) == len(tensors):
        yield plain
    while True:
        prefix = next((one for one in PREFIXES if all(key.startswith(one) for key in plain)), "")
        if not prefix or not plain:
            return
        plain = {key.removeprefix(prefix): one for key, one in plain.items()}
        yield plain


def _choose(fits: Sequence[Fit], file: Path) -> Fit:
    """Return the one that fits, averaged weights first; else the one that fits best."""
    exact = [one for one in fits if one.is_exact]
    averaged = [one for one in exact if one.is_averaged]
    if len(averaged) == 1 and len(exact) == PAIR:
        exact = averaged
    if len(exact) > 1:
        listing = ", ".join(repr(one.prefix) for one in exact[:MAX_NAMES])
        message = f"{file} holds several state dicts that fit the module, under {listing}."
        first = next(one.prefix for one in exact if one.prefix)
        raise RequestError(message, f"name the one to read, such as --prefix {first}")
    return exact[0] if exact else min(fits, key=lambda one: one.misfits)


def _describe_misfits(fit: Fit, file: Path, name: str) -> RequestError:
    groups = {
        f"missing in {file.name}": fit.missing,
        "unexpected in it": fit.unexpected,
        "of another shape": fit.shapes,
    }
    parts = [f"{kind}: {_list(names)}" for kind, names in groups.items() if names]
    message = f"The weights do not fit {name}: {'; '.join(parts)}."
    fix = "give the weights of this module, or the --set values that they were trained with."
    return RequestError(message, fix)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
