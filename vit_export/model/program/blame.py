"""Which line of a module stops its capture, out of what torch.export raises and logs."""

import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

from torch.export import ExportedProgram
from torch.fx import Node

from vit_export.core.frames import describe_error, describe_frame, list_own_frames

SHAPES_LOGGER = "torch.fx.experimental.symbolic_shapes"
"""It logs every size that code under a tracer relies on."""
GUARD = re.compile(r"eval .*\bs\d+\b.* \[guard added\]")
FRAME = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+), in (?P<name>\S+)\n\s*(?P<code>.*)')
"""A frame in the `stack_trace` of a node."""
FIXED = re.compile(r"eval Eq\(s\d+, \d+\) \[guard added\]")


class BatchGuard(logging.Handler):
    """Listens for the line of a module that fixes the size of its batch, while it is traced."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.place = ""
        """File, line and code of it; empty if no line does."""
        self._is_certain = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the place of the first line that fixes the size, or else limits it."""
        text = record.getMessage()
        is_certain = FIXED.match(text) is not None
        if not GUARD.match(text) or self._is_certain or (self.place and not is_certain):
            return
        frames = list_own_frames(traceback.extract_stack())
        self.place = describe_frame(frames[-1]) if frames else "an unknown line"
        self._is_certain = is_certain

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Let torch log to this handler alone, and print nothing, while it is open."""
        shapes, root = logging.getLogger(SHAPES_LOGGER), logging.getLogger("torch")
        before = (shapes.handlers, shapes.level, shapes.propagate, root.level)
        shapes.handlers, shapes.propagate = [self], False
        shapes.setLevel(logging.INFO)
        root.setLevel(logging.CRITICAL)
        try:
            with redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            shapes.handlers, level, shapes.propagate, root_level = before
            shapes.setLevel(level)
            root.setLevel(root_level)


def describe_line(node: Node) -> str:
    """Return ` at FILE:LINE in FUNCTION (CODE)` of a node; empty if nothing says it."""
    frames = [
        traceback.FrameSummary(one["file"], int(one["line"]), one["name"], line=one["code"])
        for one in FRAME.finditer(node.meta.get("stack_trace") or "")
    ]
    own = list_own_frames(frames)
    return f" at {describe_frame(own[-1])}" if own else ""


def find_line(program: ExportedProgram, operator: str, overload: str) -> str:
    """Return the line of the first node of an operator, or of one that becomes it.

    An example is `aten.sort` with `stable`, which `aten.argsort.stable` becomes.
    """
    short = operator.rpartition(".")[2]
    for pattern in (rf"{re.escape(operator)}\.{overload}", rf".*{re.escape(short)}\.{overload}"):
        for node in program.graph.nodes:
            if re.fullmatch(pattern, str(node.target)):
                return describe_line(node)
    return ""


def find_computed_groups(program: ExportedProgram) -> str:
    """Return a clause if the groups of a convolution depend on the number of images.

    torch.export accepts that, and no file can: groups are an attribute.
    """
    for node in program.graph.nodes:
        arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
        for argument, value in zip(arguments, node.args, strict=False):
            if argument.name == "groups" and not isinstance(value, int):
                return (
                    f"groups of a convolution depend on the number of images{describe_line(node)}"
                )
    return ""


def explain(error: Exception, guard: BatchGuard) -> str:
    """Return a clause that says why a module can't be captured, with the line of its code."""
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    frames = list_own_frames(traceback.extract_tb(error.__traceback__))
    place = f" at {describe_frame(frames[-1])}" if frames else ""
    if isinstance(error, GuardOnDataDependentSymNode):
        return f"what it computes depends on the numbers in the images{place}"
    if guard.place and not frames:
        return f"it computes with the number of images as a constant at {guard.place}"
    return describe_error(error, most=1)
