"""Plain values that pass between backends and commands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vit_export.backends.session import Session

if TYPE_CHECKING:  # onnx is heavy, and most backends have no graph to audit
    from vit_export.graph.audit import Audit


@dataclass(frozen=True)
class FileTensor:
    """An input or output of a file, as its runtime describes it."""

    name: str
    dtype: str
    """As NumPy spells it, or the runtime's own word for another type."""
    shape: tuple[int | None, ...]
    """None stands for a free dimension."""

    def __str__(self) -> str:
        """Name, type and shape in words."""
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.dtype} ({sides})"


@dataclass(frozen=True)
class FileInterface:
    """The inputs and outputs of a file."""

    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is known of an artifact after it was run."""

    not_run: str = ""
    """Why it could not run here, so that its stand-in answered; empty where it ran itself."""
    matmuls_by_dtype: Mapping[str, int] = field(default_factory=dict)
    """`Session.matmuls_by_dtype` of the session that answered."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime that a file is for, besides the one that opens every file of its kind."""

    name: str
    open: Callable[[Path, int | None], Session]
    """Open a file with that many threads (None: the runtime's default).

    Raises RequestError where the runtime refuses the file, and MissingError where the runtime is
    not installed or cannot open such files; its `fix` says what to do.
    """


@dataclass(frozen=True, kw_only=True)
class ModuleNames:
    """Names of a model's modules, in the order in which the modules run."""

    modules: tuple[str, ...]
    """The modules of the eager model whose outputs are compared."""
    layers: tuple[str, ...]
    """The linear layers and norms of the lowered model."""
    outputs: tuple[str, ...] = ()
    """The named outputs of the model, if it has several."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a backend finds in a file besides the manifest."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Names and values in words."""
    audit: "Audit | None" = None
    """The fusions and operators of a graph, where there is one and it can be read here."""
