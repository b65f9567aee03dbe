"""The import of a user's code: nothing else in the package imports code that is not installed.

Code runs because the user names it with `--module`, and never because a file names it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.frames import describe_error


@contextmanager
def import_attribute(request: ModuleRequest) -> Iterator[Any]:
    """Yield what the user names: a class, a function or a module.

    While it is open the code may import its neighbours. The folder stands last in the path: no file
    of it takes the place of an installed package.

    Raises:
        RequestError: there is no such file, module or attribute, or the code fails.
    """
    file = Path(request.origin)
    is_file = request.origin.endswith(".py") or len(file.parts) > 1
    folder = str((file.parent if is_file else Path.cwd()).resolve())
    sys.path.append(folder)
    try:
        module = _import_file(request, file) if is_file else _import_package(request)
        yield _find_attribute(module, request)
    finally:
        sys.path.remove(folder)


def _import_file(request: ModuleRequest, file: Path) -> ModuleType:
    if not file.is_file():
        fix = "check the path" + ("." if file.suffix == ".py" else ": it ends in .py.")
        raise RequestError(f"--module {request.text}: there is no file {file}.", fix)
    name = _choose_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        message = f"--module {request.text}: {file} is no file of Python."
        raise RequestError(message, "name a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 a user's code may fail in any way
        del sys.modules[name]
        raise _explain_import(request, error, file) from None
    return module


def _choose_name(file: Path) -> str:
    """Return the name of a file's module: its own, unless another module has it."""
    return f"{file.stem}_of_module" if file.stem in sys.modules else file.stem


def _import_package(request: ModuleRequest) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(request.origin)
    except (Exception, SystemExit) as error:  # noqa: BLE001 a user's code may fail in any way
        raise _explain_import(request, error, None) from None


def _explain_import(
    request: ModuleRequest, error: BaseException, file: Path | None
) -> RequestError:
    message = f"--module {request.text} does not import: {describe_error(error)}."
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and missing in {request.origin, request.origin.partition(".")[0]}:
        fix = "run it in the folder that holds the package, or name the file: --module net.py:NAME"
        return RequestError(message, fix)
    if file is not None and "relative import" in str(error):
        folder = file.resolve().parent
        fix = f"run it in {folder.parent} with --module {folder.name}.{file.stem}:{request.name}"
        return RequestError(message, fix)
    if missing is not None:
        return RequestError(message, f"install {missing} here, or take that import out.")
    return RequestError(message, "change the code so that Python imports it.")


def _find_attribute(module: ModuleType, request: ModuleRequest) -> Any:
    if not hasattr(module, request.name):
        names = [name for name in vars(module) if not name.startswith("_")]
        message = f"--module {request.text}: {module.__name__} has no {request.name!r}."
        raise RequestError(message, did_you_mean(request.name, names))
    return getattr(module, request.name)
