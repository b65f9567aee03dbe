"""Writes vit_export/__init__.pyi: the public functions for type checkers and editors.

The functions of the backends come from the registry on first use, where no type checker sees them.

python scripts/stubs.py            # writes it
python scripts/stubs.py --check    # fails when it is out of date
"""

import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Any

import vit_export
from vit_export.api import build
from vit_export.backends import BACKENDS

STUB = Path(__file__).resolve().parent.parent / "vit_export" / "__init__.pyi"
DOCSTRING = '"""Written by scripts/stubs.py from the signatures of the functions themselves."""'
IMPORTS = ("from pathlib import Path", "from typing import Literal")


def write_stub() -> str:
    """Return the text of the whole file."""
    module = ast.parse(inspect.getsource(sys.modules[build.__module__]))
    annotations = find_annotations(module, build.__name__)
    exported = [name for name in vit_export.__all__ if name not in BACKENDS]
    exports = [
        f"from {getattr(vit_export, name).__module__} import {name} as {name}" for name in exported
    ]
    functions = [write_function(getattr(vit_export, name), annotations) for name in BACKENDS]
    names = f"__all__ = {sorted(vit_export.__all__)}"
    imports = [*IMPORTS, *(text for name, text in find_imports(module) if name not in exported)]
    return tidy("\n".join([DOCSTRING, *imports, *exports, names, *functions]))


def find_annotations(module: ast.Module, name: str) -> dict[str, str]:
    """Return the annotation of each parameter of a function, as the source has it."""
    functions = (node for node in module.body if isinstance(node, ast.FunctionDef))
    (function,) = (node for node in functions if node.name == name)
    parameters = (*function.args.args, *function.args.kwonlyargs)
    texts = {one.arg: ast.unparse(one.annotation) for one in parameters if one.annotation}
    return {name: text.strip("'") for name, text in texts.items()}


def find_imports(module: ast.Module) -> list[tuple[str, str]]:
    """Return each name that a module imports, also for type checkers only, with its import."""
    nodes = (node for node in ast.walk(module) if isinstance(node, ast.ImportFrom))
    return [
        (alias.name, f"from {node.module} import {alias.name}")
        for node in nodes
        for alias in node.names
    ]


def write_function(function: Callable[..., Any], annotations: dict[str, str]) -> str:
    """Return the text of a function without its body."""
    parameters = inspect.signature(function).parameters.values()
    positional = [one for one in parameters if one.kind is Parameter.POSITIONAL_OR_KEYWORD]
    keywords = [one for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
    texts = [*(write_parameter(one, annotations) for one in positional), "*"]
    texts += [write_parameter(one, annotations) for one in keywords]
    docstring = textwrap.indent(f'"""{inspect.getdoc(function)}\n"""', "    ")
    return f"def {function.__name__}({', '.join(texts)}) -> ExportResult:\n{docstring}\n"


def write_parameter(parameter: Parameter, annotations: dict[str, str]) -> str:
    """Return a parameter with its type, and its default where that is a plain value."""
    annotation = annotations.get(parameter.name) or describe_type(parameter.annotation)
    if parameter.default is Parameter.empty:
        return f"{parameter.name}: {annotation}"
    is_plain = isinstance(parameter.default, bool | int | str | tuple | None)
    default = repr(parameter.default) if is_plain else "..."
    return f"{parameter.name}: {annotation} = {default}"


def describe_type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return text.replace("typing.", "").replace("pathlib.", "")


def tidy(text: str) -> str:
    """Return `text` as ruff sorts and formats it, without the imports that it does not need."""
    for command in (["check", "--fix-only", "--quiet", "--select", "F401,I"], ["format"]):
        process = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", STUB, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = process.stdout
    return text


if __name__ == "__main__":
    if "--check" not in sys.argv:
        STUB.write_text(write_stub(), encoding="utf-8")
    elif not STUB.exists() or STUB.read_text(encoding="utf-8") != write_stub():
        sys.exit(f"{STUB.name} is out of date. Fix: python scripts/stubs.py")
