"""What an earlier engine left beside it, and what is of no use without that engine."""

from pathlib import Path

from vit_export.artifact.manifest import KEY, Manifest
from vit_export.backends.tensorrt.sidecar import graph_of, sidecar_of, twin_of
from vit_export.core.errors import RequestError
from vit_export.core.staging import data_files


def companions_of(engine: Path) -> tuple[Path, ...]:
    """Return the manifest of `engine`, the graph that it was built of, and the graph's weights.

    A graph of that name which was not written beside an engine is somebody else's, and so are its
    weights.
    """
    graph = graph_of(engine)
    weights = (*data_files(graph), *data_files(twin_of(engine)))
    if not graph.is_file():
        return (sidecar_of(engine), *weights)
    return (
        (sidecar_of(engine), graph, *weights) if _tells_of_engine(graph) else (sidecar_of(engine),)
    )


def _tells_of_engine(graph: Path) -> bool:
    """Whether the manifest in a graph is of one that an engine was built of."""
    import onnx

    try:
        model = onnx.load(str(graph), load_external_data=False)
    except Exception:  # noqa: BLE001 no ONNX at all, whatever its reader says to it
        return False
    told = {entry.key: entry.value for entry in model.metadata_props}
    try:
        return bool(Manifest.from_json(told.get(KEY, ""), str(graph)).engine)
    except RequestError:
        return False
