"""What an earlier engine left beside it, and what is of no use without that engine."""

from pathlib import Path

from vit_export.artifact.manifest import KEY, Manifest
from vit_export.backends.tensorrt.sidecar import graph_of, twin_of
from vit_export.core.errors import RequestError
from vit_export.core.staging import data_files


def former_of(engine: Path) -> tuple[Path, ...]:
    """The graph that `engine` was built of, and weights of such graphs, of rejected ones too.

    A file of that name which was not written beside an engine is somebody else's, and so is its
    data: then there is nothing.
    """
    graph = graph_of(engine)
    weights = (*data_files(graph), *data_files(twin_of(engine)))
    if not graph.is_file():
        return weights
    return (graph, *weights) if _tells_of_engine(graph) else ()


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
