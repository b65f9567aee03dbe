"""The content of a checkpoint or an artifact."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vit_export.api.inspect import Inspection
from vit_export.cli.render.assumed import describe_assumed
from vit_export.cli.render.blocks import Block, Table, line, marked_line, row
from vit_export.cli.render.unused import describe_unused

if TYPE_CHECKING:  # it comes from a heavy module, and only inspect has one
    from vit_export.graph.audit import Audit


def describe_inspection(inspection: Inspection) -> Iterator[Block]:
    """Yield what is known of a file, the unused tensors, and the missing facts."""
    yield line(f"{inspection.path}: {inspection.kind}, {inspection.family}")
    parameters = "" if inspection.parameters is None else f"{inspection.parameters:,} parameters, "
    counts = f"{parameters}{inspection.labels} labels"
    yield line(counts, highlight=False)
    if inspection.problem_type is not None:
        yield line(f"problem type: {inspection.problem_type}", highlight=False)
    if inspection.spec or inspection.kind == "artifact":
        parts = (inspection.spec or {}, inspection.preprocessing or {}, inspection.metadata)
        rows = (row(name, str(value)) for part in parts for name, value in part.items())
        yield Table(("field", "value"), tuple(rows))
    yield from describe_assumed(inspection.assumed)
    if inspection.preprocessing_note:
        yield line(f"preprocessing: {inspection.preprocessing_note}")
    if inspection.audit is not None:
        yield from _describe_audit(inspection.audit, inspection.size_bytes)
    yield from describe_unused(inspection.unused)
    for sentence in inspection.missing:
        yield marked_line("missing:", "yellow", sentence)


def _describe_audit(audit: "Audit", size_bytes: int) -> Iterator[Block]:
    """Yield fusions, operators, arithmetic and dtypes of an ONNX file, one line each."""
    for fusion in audit.fusions:
        yield line(str(fusion), "green" if fusion.complete else "yellow", highlight=False)
    operators = ", ".join(f"{count} {name}" for name, count in audit.operators.items())
    yield line(f"{audit.nodes} nodes: {operators}", highlight=False)
    total = max(sum(audit.macs.values()), 1)
    macs = ", ".join(f"{count / total:.1%} {name}" for name, count in audit.macs.items())
    types = ", ".join(f"{count:,} {name}" for name, count in audit.dtypes.items())
    gflop = f"{audit.flops / 1e9:.2f} GFLOP per image in matmuls ({macs})"
    yield line(f"{gflop}; numbers: {types}", highlight=False)
    if audit.saturating:
        message = f"{len(audit.saturating)} int8 products can saturate on x86 CPUs without VNNI"
        yield line(f"{message}: {', '.join(audit.saturating)}", "yellow", highlight=False)
    elif "int8" in audit.macs:
        yield line(
            "no int8 product can saturate on x86 CPUs without VNNI", "green", highlight=False
        )
    domains = "".join(f", {name}" for name in audit.domains)
    size = f"{size_bytes / 1e6:.1f} MB, dynamic: {', '.join(audit.dynamic_axes) or 'nothing'}"
    yield line(f"opset {audit.opset}{domains}, IR {audit.ir_version}, {size}", highlight=False)
