"""Turns an error into a message, a fix and an exit code."""

import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from vit_export.core.errors import BuildError, MissingError, RequestError, VitExportError

PACKAGES = {"PIL": "pillow", "onnx_ir": "onnx-ir"}
"""Names on PyPI of modules that are called otherwise."""


class _InterruptionError(VitExportError):
    """Ctrl-C. Only the command line needs it: in Python it is a KeyboardInterrupt."""

    exit_code = 130


class DocumentedError(VitExportError):
    """An error that the JSON document on stdout already tells."""

    def __init__(self, error: VitExportError) -> None:
        super().__init__(error.message, error.fix)
        self.exit_code = error.exit_code


def describe_error(error: BaseException) -> VitExportError | None:
    """Return the error with a message, a fix and an exit code; None for a bug in the program."""
    if isinstance(error, VitExportError):
        return error
    if isinstance(error, click.ClickException):
        return RequestError(error.format_message(), "see --help.")
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return _InterruptionError("interrupted.", "run it again; nothing was changed.")
    return _describe_machine_error(error)


def _describe_machine_error(error: BaseException) -> VitExportError | None:
    """Return the error of a system that has too little space or memory, or lacks libraries."""
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("vit_export"):
        module = (error.name or "a package").partition(".")[0]
        fix = f"pip install {PACKAGES.get(module, module)}"
        return MissingError(f"{module} is not installed here, and this command needs it.", fix)
    if isinstance(error, OSError):
        return BuildError(f"{error}.", "check the path, its permissions and the free space.")
    if is_out_of_memory(error):
        fix = "take a smaller model or a machine with more memory."
        return BuildError("out of memory.", fix)
    if isinstance(error, SystemError) or _is_broken_library(error):
        message = f"a library failed, for lack of memory or because it is damaged: {error}."
        return BuildError(message, "raise the memory limit (ulimit -v), or install it again.")
    return None


def _is_broken_library(error: BaseException) -> bool:
    """Return whether a library is there and can't be loaded: no memory to map it, for example."""
    return isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, NumPy, PyTorch on a GPU or PyTorch on a CPU ran out of memory."""
    torch = sys.modules.get("torch")  # it can't be the cause if it is not imported
    types = (MemoryError, *([torch.OutOfMemoryError] if torch else []))
    if isinstance(error, types):
        return True
    # PyTorch's CPU allocator has no type of its own
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def report_error(error: VitExportError, *, as_json: bool) -> None:
    """Print the message and the fix to stderr; with `as_json` also a document to stdout."""
    from vit_export.cli.render.output import show_error, show_json

    if as_json and not isinstance(error, DocumentedError):
        document = {"error": error.message, "fix": error.fix, "exit_code": error.exit_code}
        with suppress(OSError):  # stdout itself may be what failed
            show_json(document | dict(error.details))
    show_error(error)


def is_json_requested(group: click.Group, argv: Sequence[str]) -> bool:
    """Return whether --json is one of the options of a command line, even if others are wrong."""
    name = next((word for word in argv if not word.startswith("-")), "")
    command = group.commands.get(name)
    if command is None:  # without a command its options are unknown
        return "--json" in argv
    context = click.Context(
        command, resilient_parsing=True, ignore_unknown_options=True, allow_extra_args=True
    )
    arguments = list(argv[argv.index(name) + 1 :])
    values, _, _ = command.make_parser(context).parse_args(arguments)
    return bool(values.get("as_json"))
