"""TensorRT: an engine of the graph, strongly typed, built with or without a GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest, check_flavour
from vit_export.backends.base import Backend
from vit_export.backends.job import Job
from vit_export.backends.onnx.graph import PACKAGES
from vit_export.backends.records import RunFacts
from vit_export.backends.session import Session
from vit_export.backends.tensorrt.builder_config import BuilderOptions
from vit_export.backends.tensorrt.compatibility import check_loads
from vit_export.backends.tensorrt.compute_capability import check_arithmetic
from vit_export.backends.tensorrt.cuda import Gpu, find_gpu
from vit_export.backends.tensorrt.engine_info import EngineGpu, EngineInfo
from vit_export.backends.tensorrt.inspector import find_wrong_matmuls
from vit_export.backends.tensorrt.options import OPTIONS, check_machine, check_options
from vit_export.backends.tensorrt.report import (
    advise,
    describe,
    describe_machine,
    find_version_issue,
    list_warnings,
    write_notes,
)
from vit_export.backends.tensorrt.sidecar import (
    graph_path,
    hash_file,
    is_engine,
    list_companions,
    read_sidecar,
    twin_path,
    write_sidecar,
)
from vit_export.backends.tensorrt.variant import EngineJob
from vit_export.backends.tensorrt.variants import ANYWHERE, VARIANTS, Choice, choose, find_variant
from vit_export.core.progress import Progress, warn
from vit_export.core.staging import data_files

DYNAMIC = Batch(1, 8, 16)
"""What `--batch dynamic` stands for: an engine has to know its largest batch."""


def check_request(request: QuantizationRequest, options: Mapping[str, Any]) -> None:
    """Raise RequestError unless the options make sense.

    Raises:
        RequestError: they do not.
        BuildError: the timing cache cannot be written.
        MissingError: no TensorRT works here, or the engine has to be run and no GPU is here, or
            another one than those of --gpu.
    """
    check_flavour(request, str(options["flavour"]), int(options["opset"]))
    capabilities = BuilderOptions.parse(options).capabilities
    gpu = find_gpu()
    variant = choose(str(options["engine"]), gpu, builds_for_here=not capabilities).variant
    check_options(variant, options)
    check_arithmetic(capabilities, request.precision)
    variant.check_request(request, options)
    check_machine(variant, options, gpu)


def build(job: Job, path: Path, progress: Progress) -> Manifest:
    """Write an engine of the job, its manifest as JSON beside it, and its graph."""
    gpu = find_gpu()
    builder_options = BuilderOptions.parse(job.options)
    for_here = not builder_options.capabilities
    choice = choose(str(job.options["engine"]), gpu, builds_for_here=for_here)
    variant = choice.variant
    info = _start_info(choice, gpu, builder_options, job.manifest.batch)
    warn(progress, find_version_issue(info))
    versions = {**job.manifest.versions, variant.package: choice.version}
    manifest, info = variant.build(
        EngineJob(
            job=replace(job, manifest=replace(job.manifest, versions=versions)),
            path=path,
            library=choice.library,
            options=builder_options,
            info=info,
            stage=f"build in {variant.title} {choice.version}",
            progress=progress,
        )
    )
    info = replace(info, sha256=hash_file(path), size_bytes=path.stat().st_size)
    manifest = replace(manifest, engine=info.to_mapping(), engine_run=False)
    write_sidecar(path, manifest)
    return manifest


def _start_info(
    choice: Choice, gpu: Gpu | None, options: BuilderOptions, batch: Batch
) -> EngineInfo:
    """Return what is known of an engine before it is built."""
    needs_gpu = choice.variant.needs_gpu
    return EngineInfo(
        kind=choice.variant.name,
        version=choice.version,
        gpu=EngineGpu(name=gpu.name, capability=gpu.capability) if gpu and needs_gpu else None,
        capabilities=options.capabilities or choice.default_capabilities,
        hardware=options.hardware,
        version_compatible=options.version_compatible,
        strip_weights=options.strip_weights,
        refit=options.refit,
        profiles=tuple(str(one) for one in batch.profiles),
        passed_over=choice.passed_over,
    )


def open_engine(path: Path, threads: int | None) -> Session:  # noqa: ARG001 an engine runs on a GPU
    """Return a session on an engine.

    Raises:
        RequestError: the file is damaged, or TensorRT does not open it.
        NotHereError: it is for another GPU or another version.
        MissingError: the GPU cannot be used.
        BuildError: the GPU has no memory left for it.
    """
    manifest = read_sidecar(path)
    info = EngineInfo.from_mapping(manifest.engine, str(path))
    variant = find_variant(info)
    return variant.open(path, check_loads(path, info, variant), manifest)


def find_danger(path: Path) -> str:
    """Return the code that opening an engine runs besides the kernels of the GPU."""
    info = EngineInfo.from_mapping(read_sidecar(path).engine, str(path))
    if find_variant(info).name == "torch":
        return "Python code that its author may have pickled into it (torch.export.load)"
    if info.version_compatible:
        return "code for the CPU that it carries with it (--version-compatible)"
    return ""


def find_stand_in(path: Path) -> Path | None:
    """Return the twin or the graph of an engine; a program of torch-tensorrt has none."""
    graphs = (twin_path(path), graph_path(path))
    return next((graph for graph in graphs if graph.is_file()), None)


def find_problems(session: Session, manifest: Manifest) -> Sequence[str]:
    """Return what is wrong with the arithmetic of an engine, where its inspector reports it."""
    problem = find_wrong_matmuls(session.matmuls_by_dtype(), manifest.precision)
    return (problem,) if problem else ()


def finish(path: Path, facts: RunFacts, options: Mapping[str, Any]) -> Sequence[str]:
    """Note in the manifest whether the engine ran; delete the graph unless --save-onnx keeps it."""
    manifest = replace(read_sidecar(path), engine_run=not facts.not_run)
    if manifest.engine_run:
        info = EngineInfo.from_mapping(manifest.engine, str(path))
        info = replace(info, engine_matmuls=dict(facts.matmuls_by_dtype))
        manifest = replace(manifest, engine=info.to_mapping())
    write_sidecar(path, manifest)
    graph, twin = graph_path(path), twin_path(path)
    for unneeded in (twin,) if options["save_onnx"] else (twin, graph):
        _delete_graph(unneeded)
    return write_notes(manifest, graph if options["save_onnx"] else None)


def keep_rejected(path: Path) -> None:
    """Give the twin the name of the graph: `locate` runs on a CPU, and only the twin runs there."""
    if twin_path(path).exists():
        _delete_graph(graph_path(path))
        twin_path(path).replace(graph_path(path))


def _delete_graph(graph: Path) -> None:
    for file in (graph, *data_files(graph)):
        file.unlink(missing_ok=True)


TENSORRT = Backend(
    name="trt",
    title="TensorRT",
    suffix=".engine",
    summary="A TensorRT engine, strongly typed, built with or without a GPU.",
    note="Without a GPU it is built by TensorRT for RTX; its graph is proven on the CPU, and "
    "`vit-export validate` finishes the proof on the device.",
    packages=PACKAGES,
    one_of={one.package: one.module for one in (ANYWHERE, *VARIANTS.values())},
    extra="trt",
    options=OPTIONS,
    precisions=("fp32", "fp16", "bf16", "int8-static", "weights-int8", "weights-int4"),
    program_precisions=("fp32", "fp16"),
    precision_flags={"fp16": "fp16", "bf16": "bf16", "int8": "int8-static"},
    dynamic_batch=DYNAMIC,
    on_gpu=True,
    check_request=check_request,
    build=build,
    check_built=find_problems,
    stand_in=find_stand_in,
    finish=finish,
    keep_rejected=keep_rejected,
    remedy=advise,
    recognize=is_engine,
    open=open_engine,
    read_own_manifest=read_sidecar,
    find_danger=find_danger,
    companions=list_companions,
    warnings=list_warnings,
    describe=describe,
    locate_instead="build it with --save-onnx, and look into its graph.",
    describe_machine=describe_machine,
)
