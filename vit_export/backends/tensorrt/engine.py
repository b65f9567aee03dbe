"""From a job to an engine: the graph is written beside it, parsed, and built."""

from dataclasses import replace

from vit_export.artifact.manifest import KEY, Manifest
from vit_export.artifact.records import BuildSettings
from vit_export.backends.onnx.graph import build_graph
from vit_export.backends.tensorrt.builder import parse_graph, save_timings, serialize
from vit_export.backends.tensorrt.compatibility import describe_validity
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.sidecar import graph_path, hash_file, twin_path
from vit_export.backends.tensorrt.variant import EngineJob
from vit_export.core.progress import ignore_share, warn

GRAPH_OPTIONS = {"opset", "flavour", "simplify"}
"""The options that the manifest inside the graph keeps."""


def build_engine(work: EngineJob) -> tuple[Manifest, EngineInfo]:
    """Write the graph of a job and its engine; return the manifest so far and the engine's record.

    Raises:
        BuildError: a fusion did not happen, or TensorRT refuses the graph or gives up.
        ProofError: most of the graph or of the network is not in the precision of the manifest.
    """
    manifest = _write_graph(work)
    graph, options, progress = graph_path(work.path), work.options, work.progress
    with progress("parse"):
        flavour = str(work.job.options["flavour"])
        network = parse_graph(work.library, graph, precision=manifest.precision, flavour=flavour)
    profiles = [(one.min, one.opt, one.max or one.opt) for one in manifest.batch.profiles]
    with progress(work.stage) as report_share:
        engine = serialize(work.library, network, profiles, options, report_share or ignore_share)
    if options.timing_cache is not None:
        warn(progress, save_timings(options.timing_cache, engine.timings))
    with progress("write"):
        work.path.write_bytes(engine.content)
    return manifest, replace(
        work.info,
        layers=network.layers,
        network_matmuls=network.matmuls,
        tensors=network.tensors,
        graph_sha256=hash_file(graph),
        validity=describe_validity(work.library, engine.content),
    )


def _write_graph(work: EngineJob) -> Manifest:
    """Write the graph; in bf16 also a twin in fp32 with the same rounding, for a CPU to run."""
    from vit_export.graph.save import save
    from vit_export.quantization.bfloat16_emulation import emulate_bf16

    opset = int(work.job.options["opset"])
    model, manifest = build_graph(work.job, work.progress)
    inside = _manifest_of_graph(replace(manifest, engine=work.info.to_mapping()))
    model.metadata_props[KEY] = inside.to_json()
    with work.progress("write the graph"):
        save(model, graph_path(work.path), opset=opset)
        if manifest.precision == "bf16":
            emulate_bf16(model)
            save(model, twin_path(work.path), opset=opset)
    return manifest


def _manifest_of_graph(manifest: Manifest) -> Manifest:
    """Return the manifest inside the graph: an ONNX file's, with the engine that it is for."""
    values = manifest.settings.values
    settings = {name: value for name, value in values.items() if name in GRAPH_OPTIONS}
    return replace(manifest, target="onnx", settings=BuildSettings(settings))
