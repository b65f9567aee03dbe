"""What the manifest of an artifact says of its origin and its making, one line per fact."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vit_export.artifact.manifest import Manifest


def collect_metadata(manifest: Manifest) -> dict[str, str]:
    """Return where an artifact comes from: model, weights, versions, and how it was built."""
    return {
        "model": manifest.model,
        **({} if manifest.spec else _describe_tensors(manifest)),
        "weights": manifest.weights_from,
        "weights sha256": manifest.weights_sha256,
        **({"reading": manifest.reading} if manifest.reading else {}),
        **manifest.versions,
        **_graph_metadata(manifest),
        **_fp16_metadata(manifest),
        **{f"engine: {name}": summarize_value(value) for name, value in manifest.engine.items()},
    }


def _describe_tensors(manifest: Manifest) -> dict[str, str]:
    """Return input and output of a module of no known family, in words."""
    tensors = (*manifest.signature.inputs, *manifest.signature.outputs)
    return {one.name: f"{one.dtype} {'x'.join(map(str, one.shape))}" for one in tensors}


def _graph_metadata(manifest: Manifest) -> dict[str, str]:
    """Return the numbers of nodes, and the passes that changed something."""
    counts = manifest.graph.to_mapping() if manifest.graph else {}
    return {f"graph: {name}": f"{count:,}" for name, count in counts.items() if count}


def _fp16_metadata(manifest: Manifest) -> dict[str, str]:
    values = asdict(manifest.fp16_range) if manifest.fp16_range else {}
    return {f"fp16: {name}": str(value) for name, value in values.items()}


def summarize_value(value: Any) -> str:
    """Return a value of the manifest as one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {summarize_value(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(summarize_value, value)) or "-"
    return "-" if value in {None, ""} else str(value)
