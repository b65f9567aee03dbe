"""What is printed of a file that is inspected, and of a model's layers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from vit_export.api.inspect import Inspection
from vit_export.cli.render.tables import table_of
from vit_export.model.vit.summary import Summary

if TYPE_CHECKING:  # it comes from a heavy module, and only inspect has one
    from vit_export.graph.audit import Audit

SHOWN = 3
"""Names in a line that stands for many."""


def print_inspection(console: Console, found: Inspection) -> None:
    """What is known of a file, a line each; then what is left out, and what is missing."""
    console.print(f"{escape(found.path)}: {found.kind}, {escape(found.family)}", soft_wrap=True)
    console.print(f"{found.parameters:,} parameters, {found.labels} labels", highlight=False)
    table = table_of("field", "value")
    for name, value in {**(found.spec or {}), **(found.preprocessing or {})}.items():
        table.add_row(name, escape(str(value)))
    for name, value in found.metadata.items():
        table.add_row(name, escape(value))
    if found.spec:
        console.print(table)
    if found.preprocessing_note:
        console.print(f"preprocessing: {escape(found.preprocessing_note)}", soft_wrap=True)
    if found.audit is not None:
        _print_audit(console, found.audit, found.size_bytes)
    print_unused(console, found.unused)
    for told in found.missing:
        console.print(f"[yellow]missing:[/yellow] {escape(told)}", soft_wrap=True)


def _print_audit(console: Console, audit: "Audit", size_bytes: int) -> None:
    """Fusions, operators, arithmetic and types of an ONNX file, a line each."""
    counts = ", ".join(f"{count} {name}" for name, count in audit.operators.items())
    types = ", ".join(f"{count:,} {name}" for name, count in audit.dtypes.items())
    domains = "".join(f", {name}" for name in audit.domains)
    total = max(sum(audit.macs.values()), 1)
    macs = ", ".join(f"{count / total:.1%} {name}" for name, count in audit.macs.items())
    for fusion in audit.fusions:
        colour = "green" if fusion.complete else "yellow"
        console.print(f"[{colour}]{escape(str(fusion))}[/{colour}]", highlight=False)
    size = f"{size_bytes / 1e6:.1f} MB, dynamic: {', '.join(audit.dynamic_axes) or 'nothing'}"
    told = [
        f"{audit.nodes} nodes: {counts}",
        f"{audit.flops / 1e9:.2f} GFLOP an image in products ({macs}); numbers: {types}",
        f"opset {audit.opset}{domains}, IR {audit.ir_version}, {size}",
    ]
    console.print(escape("\n".join(told)), highlight=False, soft_wrap=True)


def print_unused(console: Console, unused: Mapping[str, str]) -> None:
    """One line per reason: a whole CLIP has hundreds of tensors for text."""
    for reason in dict.fromkeys(unused.values()):
        names = [name for name, of_name in unused.items() if of_name == reason]
        shown = ", ".join(names[:SHOWN]) + (f", … ({len(names)})" if len(names) > SHOWN else "")
        console.print(f"unused: {escape(shown)}: {escape(reason)}", soft_wrap=True)


def print_summary(console: Console, summary: Summary) -> None:
    """The layer table, and what the seed document's own count leaves out."""
    console.print(summary.table, markup=False, highlight=False, soft_wrap=True)
    layers = summary.parameters - summary.token_parameters
    console.print(
        f"{summary.model}: {summary.parameters:,} parameters. torchsummary, which the seed "
        f"document uses, counts {layers:,}: it leaves out prefix tokens and positions "
        f"({summary.token_parameters:,}).",
        highlight=False,
        soft_wrap=True,
    )
