"""Reports on an engine: notes when it is built, what inspect shows, what to do about a fault."""

from pathlib import Path

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.records import Fp16Range
from vit_export.backends.records import Description, RunFacts
from vit_export.backends.tensorrt.compatibility import check_loads
from vit_export.backends.tensorrt.compute_capability import describe_capabilities
from vit_export.backends.tensorrt.cuda import find_gpu
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.known_issues import find_known_issue
from vit_export.backends.tensorrt.sidecar import graph_path, read_sidecar
from vit_export.backends.tensorrt.variants import describe_machine as describe_variants
from vit_export.backends.tensorrt.variants import find_variant
from vit_export.core.errors import VitExportError

BF16_ON_CPU = (
    "bf16 on the CPU: the graph ran in fp32 with every value rounded to bf16, because no CPU "
    "runtime here computes in bf16"
)


def write_notes(manifest: Manifest, graph: Path | None) -> tuple[str, ...]:
    """Return notes on a finished engine, a sentence each; `graph` is the graph that is kept."""
    info = EngineInfo.from_mapping(manifest.engine, "the manifest")
    variant = find_variant(info)
    where = describe_capabilities(info.capabilities)
    if info.gpu is not None:
        where = f"{info.gpu.name}, {describe_capabilities([info.gpu.capability])}"
    passed_over = "; ".join(info.passed_over)
    profiles = ", ".join(info.profiles)
    notes = [
        f"engine: {variant.title} {info.version}, for {where}",
        f"passed over: {passed_over}" if passed_over else "",
        f"network: {variant.describe_network(info)}; profiles: {profiles}",
        f"fp16 range: {_describe_range(manifest.fp16_range)}" if manifest.fp16_range else "",
        BF16_ON_CPU if manifest.precision == "bf16" and not manifest.engine_run else "",
        f"validity: {info.validity}" if info.validity else "",
        f"graph: {graph.name}" if graph else "",
        find_version_issue(info),
    ]
    return tuple(filter(None, notes))


def _describe_range(fp16_range: Fp16Range) -> str:
    """Return how large the numbers of an fp16 graph get on the samples."""
    largest, limit, fp32_nodes = fp16_range.largest, fp16_range.limit, fp16_range.kept
    rest = f"; {fp32_nodes} nodes stay in fp32" if fp32_nodes else ""
    return f"at most {largest:,.1f} of {limit} in {fp16_range.worst}{rest}"


def find_version_issue(info: EngineInfo) -> str:
    """Return the known issue of the TensorRT in an engine's library; empty if there is none."""
    return find_known_issue(find_variant(info).tensorrt_version(info.version))


def list_warnings(manifest: Manifest) -> tuple[str, ...]:
    """Return what to warn of before an engine is proven again."""
    warning = find_version_issue(EngineInfo.from_mapping(manifest.engine, "the manifest"))
    return (warning,) if warning else ()


def advise(rejected: Path, facts: RunFacts) -> str:
    """Return what to do about a rejected engine, kept at a path with its manifest and its graph.

    An engine that ran may be wrong where its graph is right.
    """
    graph = graph_path(rejected)
    if facts.not_run:
        return f"vit-export locate {graph} says where"
    advice = (
        "take --engine tensorrt or --engine rtx: they build from an ONNX graph that locate can run"
    )
    if graph.is_file():
        advice = (
            f"vit-export validate {graph}: if that is proven, TensorRT is wrong, and not the graph"
        )
    return "; ".join((advice, *list_warnings(read_sidecar(rejected))))


def describe(path: Path, manifest: Manifest) -> Description:
    """Return whether an engine ran where it was built, and whether it loads here."""
    info = EngineInfo.from_mapping(manifest.engine, str(path))
    try:
        check_loads(path, info, find_variant(info))
        loads = "yes"
    except VitExportError as error:
        loads = f"no: {error.message}"
    run = "yes" if manifest.engine_run else "no"
    metadata = {"engine: run where it was built": run, "engine: loads here": loads}
    return Description(metadata=metadata)


def describe_machine() -> str:
    """Return which GPU is here, and which variants work with it."""
    return describe_variants(find_gpu())
