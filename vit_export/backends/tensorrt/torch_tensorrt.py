"""torch-tensorrt: an ExportedProgram with engines inside, for those who stay in PyTorch.

It is built on a GPU only, so its answers are always proven there. This module was written without a
GPU: its calls follow the documentation of torch-tensorrt 2.10 and later.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.job import Job
from vit_export.backends.tensorrt.builder_config import MB, BuilderOptions
from vit_export.backends.tensorrt.engine_info import EngineInfo
from vit_export.backends.tensorrt.program_session import ProgramSession
from vit_export.backends.tensorrt.variant import EngineJob, Variant
from vit_export.core.errors import BuildError, RequestError
from vit_export.core.packages import find_versions

PRECISIONS = ("fp32", "fp16")
DEVICE = "cuda"
TENSORRT_PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
"""The names under which pip has TensorRT."""
OTHER_ENGINES = "take --engine tensorrt or --engine rtx."
NO_GRAPH = "torch-tensorrt takes no ONNX graph"


def check_request(request: QuantizationRequest, options: Mapping[str, Any]) -> None:
    """Raise RequestError unless torch-tensorrt can build what is requested."""
    if request.precision not in PRECISIONS:
        message = f"torch-tensorrt reads no quantized graph, so it has no {request.precision}."
        raise RequestError(message, OTHER_ENGINES)
    if request.io_fp16:
        message = "A program of torch-tensorrt takes fp32: --io-fp16 is not for it."
        raise RequestError(message, OTHER_ENGINES)
    if options["hardware"] == "same-capability":
        message = "torch-tensorrt has no --hardware same-capability."
        raise RequestError(message, "take --hardware ampere-plus, or --engine tensorrt.")


def build(work: EngineJob) -> tuple[Manifest, EngineInfo]:
    """Write the program of a job; return the manifest so far and the program's record.

    The arithmetic of its matmuls is not known: the engines inside report the names of layers only.

    Raises:
        RequestError: several ranges of batches are requested, and a program has one; or the model
            is of no known family.
        BuildError: torch-tensorrt refuses.
    """
    if work.job.manifest.spec is None:
        message = "torch-tensorrt takes Vision Transformers of known families alone."
        raise RequestError(message, OTHER_ENGINES)
    with work.progress(work.stage):
        build_program(work.job, work.path, work.library, work.options)
    return work.job.manifest, replace(work.info, network_matmuls={}, validity="")


def build_program(job: Job, path: Path, library: Any, options: BuilderOptions) -> None:
    """Write the program of the job's module to `path`."""
    import torch

    manifest = job.manifest
    shapes = _shapes_by_name(manifest.batch, manifest.signature.sample_shape)
    input_shapes = {f"{name}_shape": shape for name, shape in shapes.items()}
    images = library.Input(**input_shapes, dtype=torch.float32)
    try:
        module = job.lowered.eval().to(DEVICE)
        # torch.export takes a size of 1 for a constant, so the example has the largest batch
        example = torch.zeros(shapes["max"], device=DEVICE)
        program = torch.export.export(
            module, (example,), dynamic_shapes=_dynamic_shapes(manifest.batch), strict=False
        )
        keywords = _compile_keywords(library.dynamo.compile, options, manifest.precision)
        compiled = library.dynamo.compile(program, arg_inputs=[images], **keywords)
        library.save(compiled, str(path), output_format="exported_program", arg_inputs=[images])
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        fix = "take --engine tensorrt, or a smaller --batch."
        raise BuildError(f"torch-tensorrt built no program: {reason}.", fix) from None
    finally:
        job.lowered.to("cpu")


def _shapes_by_name(batch: Batch, image: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the input's shapes (B, C, H, W) at the smallest, usual and largest batch."""
    if batch.several:
        message = "A program of torch-tensorrt has one range of batches."
        raise RequestError(message, f"take --batch {batch.min}:{batch.opt}:{batch.max}.")
    sizes = {"min": batch.min, "opt": batch.opt, "max": batch.max or batch.opt}
    return {name: (size, *image) for name, size in sizes.items()}


def _dynamic_shapes(batch: Batch) -> tuple[dict[int, Any]] | None:
    """Return the free dimensions for torch.export; None where the batch is fixed."""
    import torch

    if batch.fixed:
        return None
    largest = batch.max or batch.opt
    return ({0: torch.export.Dim("batch", min=batch.min, max=largest)},)


def _compile_keywords(compile_: Any, options: BuilderOptions, precision: str) -> dict[str, Any]:
    """Return the keywords of `torch_tensorrt.dynamo.compile` for these options."""
    import torch

    keywords: dict[str, Any] = {
        "disable_tf32": True,
        "require_full_compilation": True,
        "min_block_size": 1,
        "workspace_size": options.workspace_mb * MB,
        "optimization_level": options.level,
        "version_compatible": options.version_compatible,
        "hardware_compatible": options.hardware == "ampere-plus",
    }
    if "use_explicit_typing" in inspect.signature(compile_).parameters:
        keywords["use_explicit_typing"] = True  # later versions always do, and lack it
    if precision == "fp16":
        aten = torch.ops.aten
        keywords |= {
            "enable_autocast": True,
            "autocast_low_precision_type": torch.float16,
            "autocast_excluded_ops": {
                aten.layer_norm.default,
                aten.native_layer_norm.default,
                aten._softmax.default,  # noqa: SLF001 its public name in aten
                aten.softmax.int,
                aten.scaled_dot_product_attention.default,
            },
        }
    return keywords


def find_tensorrt_version(version: str) -> str:  # noqa: ARG001 it is not that of torch-tensorrt
    """Return the version of the TensorRT that is installed beside torch-tensorrt."""
    return next(iter(find_versions(TENSORRT_PACKAGES).values()), "")


def describe_network(info: EngineInfo) -> str:  # noqa: ARG001 the record does not know either
    """Return a sentence that says that the arithmetic is not known."""
    return "torch-tensorrt does not report the arithmetic of its matmuls"


TORCH_TENSORRT = Variant(
    name="torch",
    title="torch-tensorrt",
    module="torch_tensorrt",
    package="torch-tensorrt",
    needs_gpu=True,
    refused_options={
        "gpu": "torch-tensorrt builds for the GPU that it runs on",
        "refit": "torch-tensorrt refits a module in memory, with its own functions",
        "strip_weights": "a program of torch-tensorrt holds its weights",
        "timing_cache": "torch-tensorrt keeps a timing cache of its own",
        "save_onnx": NO_GRAPH,
        "opset": NO_GRAPH,
        "flavour": NO_GRAPH,
        "simplify": NO_GRAPH,
    },
    check_request=check_request,
    build=build,
    open=ProgramSession,
    tensorrt_version=find_tensorrt_version,
    describe_network=describe_network,
)
