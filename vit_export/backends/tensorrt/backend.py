"""TensorRT: an engine of the graph, strongly typed, built with or without a GPU."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import KEY, Manifest
from vit_export.artifact.precision import QuantizationRequest, check_flavour
from vit_export.artifact.records import BuildSettings, Fp16Range
from vit_export.backends.base import Backend, Job
from vit_export.backends.onnx.graph import PACKAGES, build_graph
from vit_export.backends.records import Description, RunFacts
from vit_export.backends.session import Session
from vit_export.backends.tensorrt.builder_config import Settings, check_settings
from vit_export.backends.tensorrt.compatibility import check_loads, validity
from vit_export.backends.tensorrt.compute_capability import check_arithmetic, in_words
from vit_export.backends.tensorrt.driver import Gpu, find_gpu
from vit_export.backends.tensorrt.former import companions_of
from vit_export.backends.tensorrt.inspector import check_inspected
from vit_export.backends.tensorrt.known_issues import warning_of
from vit_export.backends.tensorrt.options import OPTIONS
from vit_export.backends.tensorrt.program import build_program
from vit_export.backends.tensorrt.program import check as check_program
from vit_export.backends.tensorrt.sidecar import (
    graph_of,
    is_engine,
    read_sidecar,
    twin_of,
    write_sidecar,
)
from vit_export.backends.tensorrt.variants import ANYWHERE, KINDS, NO_GPU, Chosen, choose, overview
from vit_export.core.errors import MissingError, VitExportError
from vit_export.core.progress import Progress, unheard, warn
from vit_export.core.staging import data_files

DYNAMIC = Batch(1, 8, 16)
"""What `dynamic` stands for: an engine has to know its largest batch."""

ROUNDED = (
    "bf16 on the CPU: the graph ran in fp32 with every value rounded to bf16, as no CPU runtime "
    "here computes it"
)


def build(job: Job, path: Path, progress: Progress) -> Manifest:
    """Write an engine of the job's graph, its manifest as JSON beside it, and the graph itself."""
    gpu = find_gpu()
    chosen = choose(str(job.settings["engine"]), gpu)
    warn(progress, warning_of(chosen.kind.name, chosen.version))
    versions = {**job.manifest.versions, chosen.kind.package: chosen.version}
    job = replace(job, manifest=replace(job.manifest, versions=versions))
    settings = Settings.of(job.settings)
    facts = _facts(chosen, gpu, settings, job.manifest.batch)
    if chosen.kind.name == "torch":
        manifest = job.manifest
        with progress(f"build in {chosen.kind.title} {chosen.version}"):
            build_program(job, path, chosen.library, settings)
        seen: dict[str, Any] = {"precisions": {}, "validity": ""}
    else:
        manifest, seen = _build_engine(
            job, path, chosen, settings=settings, facts=facts, progress=progress
        )
    content = {"sha256": _sha256(path), "size_bytes": path.stat().st_size}
    manifest = replace(manifest, engine=facts | seen | content, engine_run=False)
    write_sidecar(path, manifest)
    return manifest


def _build_engine(
    job: Job,
    path: Path,
    chosen: Chosen,
    *,
    settings: Settings,
    facts: Mapping[str, Any],
    progress: Progress,
) -> tuple[Manifest, dict[str, Any]]:
    """Writes the graph and the engine; the manifest so far, and what was seen of the engine."""
    from vit_export.backends.tensorrt.builder import keep_timings, parsed, serialized
    from vit_export.graph.save import save
    from vit_export.quantization.bfloat16_emulation import emulate_bf16

    model, manifest = build_graph(job, progress)
    graph = graph_of(path)
    model.metadata_props[KEY] = _of_graph(replace(manifest, engine=facts)).to_json()
    with progress("write the graph"):
        save(model, graph, opset=int(job.settings["opset"]))
        if manifest.precision == "bf16":
            emulate_bf16(model)
            save(model, twin_of(path), opset=int(job.settings["opset"]))
    del model
    with progress("parse"):
        flavour = str(job.settings["flavour"])
        found = parsed(chosen.library, graph, precision=manifest.precision, flavour=flavour)
    profiles = [(one.least, one.usual, one.most or one.usual) for one in manifest.batch.profiles]
    with progress(f"build in {chosen.kind.title} {chosen.version}") as tell:
        made = serialized(chosen.library, found, profiles, settings, tell or unheard)
    if settings.timing_cache is not None:
        warn(progress, keep_timings(settings.timing_cache, made.timings))
    with progress("write"):
        path.write_bytes(made.engine)
    return manifest, {
        "layers": found.layers,
        "precisions": found.products,
        "inputs and outputs": found.ends,
        "graph_sha256": _sha256(graph),
        "validity": validity(chosen.library, made.engine),
    }


def _facts(chosen: Chosen, gpu: Gpu | None, settings: Settings, batch: Batch) -> dict[str, Any]:
    """What is known of an engine before it is built."""
    kind = chosen.kind
    return {
        "kind": kind.name,
        "version": chosen.version,
        "gpu": {"name": gpu.name, "capability": gpu.capability} if gpu and kind.needs_gpu else None,
        "capabilities": list(settings.capabilities),
        "hardware": settings.hardware,
        "version_compatible": settings.version_compatible,
        "strip_weights": settings.strip_weights,
        "refit": settings.refit,
        "profiles": [str(one) for one in batch.profiles],
        "passed_over": list(chosen.passed_over),
    }


def _of_graph(manifest: Manifest) -> Manifest:
    """The manifest inside the graph: that of an ONNX file, which tells what it was made for."""
    options = {"opset", "flavour", "simplify"}
    settings = {name: value for name, value in manifest.settings.values.items() if name in options}
    return replace(manifest, target="onnx", settings=BuildSettings(settings))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stand_in(path: Path) -> Path | None:
    """The graph of the engine at `path`, or its twin; a program of torch-tensorrt has none."""
    graphs = (twin_of(path), graph_of(path))
    return next((graph for graph in graphs if graph.is_file()), None)


def finish(path: Path, facts: RunFacts, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Says in the manifest whether the engine ran; the graph goes, but for --save-onnx."""
    manifest = replace(read_sidecar(path), engine_run=not facts.not_run)
    if manifest.engine_run:
        told = {**manifest.engine, "engine_precisions": dict(facts.matmuls_by_dtype)}
        manifest = replace(manifest, engine=told)
    write_sidecar(path, manifest)
    graph, twin = graph_of(path), twin_of(path)
    for spent in (twin,) if settings["save_onnx"] else (twin, graph):
        for file in (spent, *data_files(spent)):
            file.unlink(missing_ok=True)
    return _notes(manifest, graph if settings["save_onnx"] else None)


def remedy(kept: Path, facts: RunFacts) -> str:
    """What to do about a rejected engine; one that ran itself may be wrong where its graph is not.

    `kept` is where it stands, with its manifest and its graph.
    """
    graph = graph_of(kept)
    if facts.not_run:
        return f"vit-export locate {graph} says where"
    fix = "take --engine tensorrt or --engine rtx, which are built of a graph that can be looked at"
    if graph.is_file():
        fix = (
            f"vit-export validate {graph}: if that is proven, TensorRT is wrong, and not the graph"
        )
    told = read_sidecar(kept).engine
    return "; ".join(filter(None, (fix, warning_of(told["kind"], told["version"]))))


def _notes(manifest: Manifest, graph: Path | None) -> tuple[str, ...]:
    told = manifest.engine
    kind = KINDS[str(told["kind"])]
    gpu = told["gpu"]
    where = f"{gpu['name']}, {in_words([gpu['capability']])}" if gpu else None
    over = "; ".join(told["passed_over"])
    profiles = ", ".join(told["profiles"])
    notes = [
        f"engine: {kind.title} {told['version']}, for {where or in_words(told['capabilities'])}",
        f"passed over: {over}" if over else "",
        f"network: {_network(told)}; profiles: {profiles}",
        f"fp16 range: {_range_in_words(manifest.fp16_range)}" if manifest.fp16_range else "",
        ROUNDED if manifest.precision == "bf16" and not manifest.engine_run else "",
        f"validity: {told['validity']}" if told["validity"] else "",
        f"graph: {graph.name}" if graph else "",
        warning_of(kind.name, str(told["version"])),
    ]
    return tuple(filter(None, notes))


def _network(told: Mapping[str, Any]) -> str:
    """What an engine was built of, where that is known."""
    if told["kind"] == "torch":
        return "torch-tensorrt does not tell what products are done in"
    products = ", ".join(f"{count} in {name}" for name, count in told["precisions"].items())
    return f"{told['layers']} layers, products: {products}"


def _range_in_words(fp16_range: Fp16Range) -> str:
    """How large the numbers of an fp16 graph get on the samples."""
    kept = f"; {fp16_range.kept} nodes stay in fp32" if fp16_range.kept else ""
    most = f"at most {fp16_range.largest:,.1f} of {fp16_range.limit}"
    return f"{most} in {fp16_range.worst}{kept}"


def check(asked: QuantizationRequest, settings: Mapping[str, Any]) -> None:
    """Nothing, when such an engine can be built here.

    Raises:
        RequestError: the settings make no sense.
        BuildError: the timing cache can't be written.
        MissingError: no TensorRT works here, or no GPU is here and the engine has to be run.
    """
    check_flavour(asked, str(settings["flavour"]), int(settings["opset"]))
    capabilities = Settings.of(settings).capabilities
    gpu = find_gpu()
    kind = choose(str(settings["engine"]), gpu).kind
    check_settings(kind.name, settings, {option.name: option.default for option in OPTIONS})
    check_arithmetic(capabilities, asked.precision)
    if kind.name == "torch":
        check_program(asked, settings)
    if gpu is None and settings["require_run"]:
        fix = "leave --require-run out: the graph is proven, and the engine built."
        raise MissingError(f"The engine has to be run, and there is {NO_GPU}.", fix)
    if gpu is None and (settings["refit"] or settings["strip_weights"]):
        message = f"{KINDS[kind.name].title} needs a GPU for --refit and --strip-weights."
        raise MissingError(message, "build where the GPU is, or leave them out.")


def keep_rejected(path: Path) -> None:
    """Give the twin the name of the graph: `locate` runs it on a CPU, which the graph cannot be."""
    graph, twin = graph_of(path), twin_of(path)
    if twin.exists():
        for file in (graph, *data_files(graph)):
            file.unlink(missing_ok=True)
        twin.replace(graph)


def check_built(session: Session, manifest: Manifest) -> tuple[str, ...]:
    """Return what is wrong with the arithmetic of an engine, where its inspector tells it."""
    problem = check_inspected(session.matmuls_by_dtype(), manifest.precision)
    return (problem,) if problem else ()


def open_engine(path: Path, threads: int | None) -> Session:
    """Return a session on an engine, or on a program of torch-tensorrt."""
    from vit_export.backends.tensorrt.exported import ExportedSession
    from vit_export.backends.tensorrt.session import EngineSession

    if read_sidecar(path).engine["kind"] == "torch":
        return ExportedSession(path, threads)
    return EngineSession(path, threads)


def describe(path: Path, manifest: Manifest) -> Description:
    """Return whether the engine was run where it was built, and whether it loads here."""
    try:
        check_loads(path, manifest.engine)
        loads = "yes"
    except VitExportError as error:
        loads = f"no: {error.message}"
    run = "yes" if manifest.engine_run else "no"
    metadata = {"engine: run where it was built": run, "engine: loads here": loads}
    return Description(metadata=metadata)


def warnings(manifest: Manifest) -> tuple[str, ...]:
    """Return what is known to be wrong with the version that built the engine."""
    known = warning_of(str(manifest.engine["kind"]), str(manifest.engine["version"]))
    return (known,) if known else ()


def describe_machine() -> str:
    """Return which GPU is here, and which ways to an engine work."""
    return overview(find_gpu())


TENSORRT = Backend(
    name="trt",
    title="TensorRT",
    suffix=".engine",
    summary="A TensorRT engine, strongly typed, built with or without a GPU.",
    note="Without a GPU it is built by TensorRT for RTX; its graph is proven on the CPU, and "
    "`vit-export validate` finishes the proof on the device.",
    packages=PACKAGES,
    one_of={kind.package: kind.module for kind in (ANYWHERE, *KINDS.values())},
    extra="trt",
    options=OPTIONS,
    precisions=("fp32", "fp16", "bf16", "int8-static", "weights-int8", "weights-int4"),
    shorts={"fp16": "fp16", "bf16": "bf16", "int8": "int8-static"},
    dynamic_batch=DYNAMIC,
    on_gpu=True,
    check_request=check,
    build=build,
    check_built=check_built,
    stand_in=stand_in,
    finish=finish,
    keep_rejected=keep_rejected,
    remedy=remedy,
    recognize=is_engine,
    open=open_engine,
    read_sidecar=read_sidecar,
    companions=companions_of,
    warnings=warnings,
    describe=describe,
    locate_instead="build it with --save-onnx, and look into its graph.",
    describe_machine=describe_machine,
)
