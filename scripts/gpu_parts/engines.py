"""Engines on a GPU: those that were built without one, and those that are built there."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu_parts.context import Answer, Context, call
from gpu_parts.folder import ENGINES, measure
from gpu_parts.refusals import copy_engine
from gpu_parts.results import Outcome, Row
from vit_export.backends.tensorrt.builder import parse_graph, serialize
from vit_export.backends.tensorrt.builder_config import BuilderOptions
from vit_export.backends.tensorrt.compute_capability import list_capabilities
from vit_export.backends.tensorrt.cuda import Gpu, find_gpu
from vit_export.backends.tensorrt.engine_info import EngineGpu, EngineInfo
from vit_export.backends.tensorrt.sidecar import graph_path, hash_file, read_sidecar, write_sidecar
from vit_export.backends.tensorrt.variants import VARIANTS
from vit_export.core.errors import VitExportError
from vit_export.core.progress import ignore_share

PROFILES = [(1, 8, 16)]
BUILDS = {
    "as it is": BuilderOptions(),
    "refit": BuilderOptions(refit=True),
    "stripped weights": BuilderOptions(strip_weights=True),
}
"""What is built on the GPU from the fp16 graph."""


def run_rtx_engines(context: Context) -> Iterator[Row]:
    """Yield the verdict on each engine of TensorRT for RTX; on other cards what one really does."""
    obstacle = _find_obstacle(context)
    if obstacle:
        for precision in ENGINES:
            yield Row(case=f"engine in {precision}", outcome="skipped", facts=obstacle)
        return
    library, gpu = import_module("tensorrt_rtx"), find_gpu()
    if gpu is None or gpu.capability not in list_capabilities(library):
        yield _record_what_happens(context, gpu)
        return
    for precision in ENGINES:
        path = context.folder / "engines" / f"{precision}.engine"
        engine = copy_engine(path, context.work)
        yield _describe(f"{precision}, built without a GPU", engine, call_validate(context, engine))
    yield from _build_here(context, "rtx", library, gpu, BUILDS)


def run_other_engines(context: Context) -> Iterator[Row]:
    """Yield the same for TensorRT and torch-tensorrt, where they are installed."""
    gpu, graph = find_gpu(), context.folder / "engines" / "fp16.onnx"
    for name in ("tensorrt", "torch"):
        variant = VARIANTS[name]
        case = f"engines of {variant.title}"
        if find_spec(variant.module) is None:
            yield Row(case=case, outcome="skipped", facts="it is not installed here")
        elif gpu is None or context.is_dry:
            yield Row(case=case, outcome="skipped", facts="needs CUDA")
        elif name == "torch":
            out = context.work / "torch.engine"
            words = ("--model", "fashion_mnist", "--engine", "torch", "--out", out, "--quiet")
            yield _describe(case, out, call(context.work, "trt", *words, "--json"))
        elif not graph.is_file():
            facts = "the folder has no graphs: prepare --engines"
            yield Row(case=case, outcome="skipped", facts=facts)
        else:
            yield from _build_here(context, name, import_module(variant.module), gpu, BUILDS)


def _find_obstacle(context: Context) -> str:
    if not context.contents.has_engines:
        return "the folder has no engines: prepare --engines"
    if find_spec("tensorrt_rtx") is None:
        return "TensorRT for RTX could not be installed"
    return "needs CUDA" if context.is_dry else ""


def call_validate(context: Context, engine: Path) -> Answer:
    """Run `validate` on an engine, at every corner of its profiles."""
    return call(context.work, "validate", engine, "--json", "--quiet")


def _describe(case: str, engine: Path, answer: Answer) -> Row:
    document = answer.document or {}
    verdict = document.get("verdict", document)
    if "status" not in verdict:
        return Row(case=case, outcome="FAILED", facts=f"{answer.code}: {answer.sentence}")
    matmuls = ", ".join(f"{n} in {name}" for name, n in verdict.get("products", {}).items())
    snr = min((float(one["snr_db"]) for one in verdict["against_eager"]), default=0.0)
    facts = f"{verdict['status']} at batch {', '.join(map(str, verdict['batches']))}, "
    facts += f"worst {snr:.1f} dB; matmuls: {matmuls or 'not reported'}"
    facts += f"; {engine.stat().st_size / 1e6:.1f} MB" if engine.is_file() else ""
    facts += f"; {verdict['failures'][0]}" if verdict.get("failures") else ""
    outcome: Outcome = "ok" if answer.code == 0 and verdict["status"] == "PROVEN" else "FAILED"
    return Row(case=case, outcome=outcome, facts=facts, numbers={"snr_db": snr})


def _build_here(
    context: Context, kind: Any, library: Any, gpu: Gpu, builds: dict[str, BuilderOptions]
) -> Iterator[Row]:
    """Build engines of the fp16 graph on this GPU, and yield the verdict on each."""
    for name, options in builds.items():
        case = f"fp16, built here, {name}"
        try:
            engine = _build(context, kind, library, gpu, (name, options))
        except VitExportError as error:  # the other builds may work
            yield Row(case=case, outcome="FAILED", facts=error.message)
        else:
            yield _describe(case, engine, call_validate(context, engine))


def _build(
    context: Context, kind: Any, library: Any, gpu: Gpu, build: tuple[str, BuilderOptions]
) -> Path:
    """Build one engine of the fp16 graph, with its manifest and its graph beside it."""
    name, options = build
    engine = context.work / f"{kind}-{name.replace(' ', '-')}.engine"
    graph = graph_path(engine)
    graph.write_bytes((context.folder / "engines" / "fp16.onnx").read_bytes())
    network = parse_graph(library, graph, precision="fp16", flavour="tensorrt")
    engine.write_bytes(serialize(library, network, PROFILES, options, ignore_share).content)
    info = dataclasses.replace(
        _make_info(kind, library, gpu, options, engine),
        layers=network.layers,
        network_matmuls=network.matmuls,
        tensors=network.tensors,
        graph_sha256=hash_file(graph),
    )
    source = read_sidecar(context.folder / "engines" / "fp16.engine")
    write_sidecar(engine, dataclasses.replace(source, engine=info.to_mapping()))
    return engine


def _make_info(
    kind: Any, library: Any, gpu: Gpu, options: BuilderOptions, engine: Path
) -> EngineInfo:
    size, digest = measure(engine)
    return EngineInfo(
        kind=kind,
        version=str(library.__version__),
        gpu=None if kind == "rtx" else EngineGpu(name=gpu.name, capability=gpu.capability),
        refit=options.refit,
        strip_weights=options.strip_weights,
        profiles=("1:8:16",),
        size_bytes=size,
        sha256=digest,
    )


OPEN_ANYWAY = """
import sys
from pathlib import Path
import numpy as np, tensorrt_rtx
from vit_export.backends.tensorrt.session import EngineSession
from vit_export.backends.tensorrt.sidecar import read_sidecar
path = Path(sys.argv[1])
session = EngineSession(path, tensorrt_rtx, read_sidecar(path))
print("it opens;", session.run(np.zeros((1, 1, 28, 28), np.float32)).round(3).tolist())
"""
"""Opens an engine without the check of the GPU, to see what the library itself does."""


def _record_what_happens(context: Context, gpu: Gpu | None) -> Row:
    """Return what TensorRT for RTX really does with a small engine on a card it does not name."""
    engine = copy_engine(context.folder / "engines" / "fp32.engine", context.work)
    words = [sys.executable, "-P", "-c", OPEN_ANYWAY, str(engine)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().split("\n")
    facts = f"exit code {done.returncode}: {lines[-1][-400:]}"
    where = f"{gpu.name} of {gpu.capability}" if gpu else "no GPU"
    return Row(
        case=f"one fp32 engine opened all the same on {where}", outcome="recorded", facts=facts
    )
