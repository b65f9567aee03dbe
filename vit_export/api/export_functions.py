"""One export function per backend: `build` with the options of that backend in its signature.

Each backend lists its own options, so its function is made from the registry, as its command is.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Literal

from vit_export.api.build import build
from vit_export.api.result import ExportResult
from vit_export.artifact.precision import OPTION_PRECISIONS
from vit_export.backends.base import Backend
from vit_export.backends.option import Option

WIDTH = 96
LAST = ("threads", "progress")
"""Parameters that come after the backend's own."""


def make_export_function(backend: Backend) -> Callable[..., ExportResult]:
    """Return the function that `vit_export` offers under the name of a backend."""

    def function(model: Any, out: str | Path, **keywords: Any) -> ExportResult:
        return build(backend.name, model, out, **keywords)

    parameters = {one.name: one for one in _list_parameters(backend)}
    signature = Signature([*parameters.values()], return_annotation=ExportResult)
    function.__name__ = function.__qualname__ = backend.name
    function.__module__ = "vit_export"
    function.__doc__ = _write_docstring(backend, parameters)
    function.__annotations__ = {name: one.annotation for name, one in parameters.items()}
    function.__annotations__["return"] = ExportResult
    vars(function)["__signature__"] = signature
    return function


def _list_parameters(backend: Backend) -> Iterator[Parameter]:
    """Yield the parameters of `build` that this backend supports, and the backend's own."""
    common = dict(inspect.signature(build).parameters)
    precisions = {*backend.precisions}
    for name, parameter in common.items():
        applies = name not in OPTION_PRECISIONS or OPTION_PRECISIONS[name] & precisions
        is_fixed = name == "target" or parameter.kind is Parameter.VAR_KEYWORD
        if applies and not is_fixed and name not in LAST:
            yield parameter
    for flag in backend.precision_flags:
        yield Parameter(flag, Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    for option in backend.options:
        yield Parameter(
            option.name,
            Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=_annotate(option),
        )
    yield from (common[name] for name in LAST)


def _annotate(option: Option) -> Any:
    """Return the type of the values that an option takes."""
    if option.choices:
        return Literal[option.choices]
    return str | Path if isinstance(option.default, str) else type(option.default)


def _write_docstring(backend: Backend, parameters: Mapping[str, Parameter]) -> str:
    """Return a summary, the backend's note, and the parameters as `build` and it explain them."""
    _, arguments, errors = re.split(r"(?:Args|Raises):\n", inspect.getdoc(build) or "")
    texts = {text.partition(":")[0].strip(): text for text in _split_entries(arguments)}
    for flag, precision in backend.precision_flags.items():
        texts[flag] = _write_entry(flag, f"short for precision {precision!r}.")
    for option in backend.options:
        texts[option.name] = _write_entry(option.name, _explain(option))
    parts = (
        f"Export a model to {backend.title} and prove it; the file takes its name only if proven.",
        *(textwrap.fill(text, WIDTH) for text in (backend.summary, backend.note) if text),
        "Args:\n" + "\n".join(texts[name] for name in parameters),
        "Raises:\n" + errors.rstrip(),
    )
    return "\n\n".join(parts) + "\n"


def _split_entries(section: str) -> list[str]:
    """Return the entries of a section `Args:`, each with its continuation lines."""
    return [entry.rstrip() for entry in re.split(r"^(?=    \w+:)", section, flags=re.MULTILINE)[1:]]


def _write_entry(name: str, text: str) -> str:
    return textwrap.fill(
        f"{name}: {text}", WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8
    )


def _explain(option: Option) -> str:
    if option.maximum is None:
        return option.help
    return f"{option.help} {option.minimum} to {option.maximum}."
