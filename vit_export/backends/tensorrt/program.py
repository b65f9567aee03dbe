"""torch-tensorrt: an ExportedProgram with the engine inside, for those who stay in PyTorch.

It is built on a GPU alone, so what it answers is always proven there. Nothing here could be run
where this was written: the calls are those of the documentation of torch-tensorrt 2.10 and later.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.base import Job
from vit_export.backends.tensorrt.builder_config import Settings
from vit_export.core.errors import BuildError, RequestError

PRECISIONS = ("fp32", "fp16")
DEVICE = "cuda"
OTHERS = "take --engine tensorrt or --engine rtx."


def check(asked: QuantizationRequest, settings: Mapping[str, Any]) -> None:
    """Nothing, when such a program can be as asked.

    Raises:
        RequestError: it can't.
    """
    if asked.precision not in PRECISIONS:
        message = f"torch-tensorrt reads no graph, so it has no {asked.precision} of ours."
        raise RequestError(message, OTHERS)
    if asked.io_fp16:
        raise RequestError(
            "A program of torch-tensorrt takes fp32: --io-fp16 is not for it.", OTHERS
        )
    if settings["hardware"] == "same-capability":
        message = "torch-tensorrt knows no --hardware same-capability."
        raise RequestError(message, "take --hardware ampere-plus, or --engine tensorrt.")


def build_program(job: Job, path: Path, library: Any, settings: Settings) -> None:
    """Writes the program of the job's module.

    What its products are done in is not known: engines inside tell the names of their layers alone.

    Raises:
        RequestError: several ranges of batches; a program has one.
        BuildError: torch-tensorrt refuses.
    """
    import torch

    manifest, batch = job.manifest, job.manifest.batch
    if batch.several:
        message = "A program of torch-tensorrt has one range of batches."
        raise RequestError(message, f"take --batch {batch.least}:{batch.usual}:{batch.most}.")
    most = batch.most or batch.usual
    rest = manifest.signature.image_shape
    shapes = {
        name: (size, *rest)
        for name, size in (("min", batch.least), ("opt", batch.usual), ("max", most))
    }
    given = library.Input(
        **{f"{name}_shape": shape for name, shape in shapes.items()}, dtype=torch.float32
    )
    try:
        module = job.lowered.eval().to(DEVICE)
        # of 2 at least where the batch may change: torch.export takes a size of 1 for a constant
        example = torch.zeros(shapes["opt" if batch.fixed else "max"], device=DEVICE)
        axis = None if batch.fixed else torch.export.Dim("batch", min=batch.least, max=most)
        dynamic = None if axis is None else ({0: axis},)
        exported = torch.export.export(module, (example,), dynamic_shapes=dynamic, strict=False)
        asked = _asked(library.dynamo.compile, settings, manifest.precision)
        made = library.dynamo.compile(exported, arg_inputs=[given], **asked)
        library.save(made, str(path), output_format="exported_program", arg_inputs=[given])
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        fix = "take --engine tensorrt, or a smaller --batch."
        raise BuildError(f"torch-tensorrt built no program: {reason}.", fix) from None
    finally:
        job.lowered.to("cpu")


def _asked(compile_: Any, settings: Settings, precision: str) -> dict[str, Any]:
    """The keywords of `torch_tensorrt.dynamo.compile` for what was asked."""
    import torch

    asked: dict[str, Any] = {
        "disable_tf32": True,
        "require_full_compilation": True,
        "min_block_size": 1,
        "workspace_size": settings.workspace_mb * 2**20,
        "optimization_level": settings.level,
        "version_compatible": settings.version_compatible,
        "hardware_compatible": settings.hardware == "ampere-plus",
    }
    if "use_explicit_typing" in inspect.signature(compile_).parameters:
        asked["use_explicit_typing"] = True  # later versions know nothing else
    if precision == "fp16":
        aten = torch.ops.aten
        asked |= {
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
    return asked
