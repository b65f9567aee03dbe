"""Plain values that pass between backends and commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # onnx is heavy, and most backends have no graph to audit
    from vit_export.graph.audit import Audit


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is known of an artifact after it was run."""

    not_run: str = ""
    """Why it could not run here, so that its stand-in answered; empty where it ran itself."""
    matmuls_by_dtype: Mapping[str, int] = field(default_factory=dict)
    """`Session.matmuls_by_dtype` of the session that answered."""


@dataclass(frozen=True, kw_only=True)
class ModuleNames:
    """Names of a model's modules, in the order in which the modules run."""

    modules: tuple[str, ...]
    """The modules of the eager model whose outputs are compared."""
    layers: tuple[str, ...]
    """The linear layers and norms of the lowered model."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a backend finds in a file besides the manifest."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Names and values in words."""
    audit: "Audit | None" = None
    """The fusions and operators of a graph, where there is one and it can be read here."""
