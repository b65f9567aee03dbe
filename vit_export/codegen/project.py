"""The files of a C++ project, rendered from templates for one artifact."""

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from vit_export.artifact.manifest import INTERFACE_KEY, Manifest
from vit_export.artifact.outputs import LEAST_LOG, OUTPUT_NAMES, TOP
from vit_export.codegen.golden import INPUT_OFF, JPEG_LEVELS
from vit_export.core.errors import RequestError
from vit_export.data.pillow_resize import columns_may_come_first
from vit_export.data.preprocessing import Preprocessing

TEMPLATES = files("vit_export") / "codegen" / "templates"
RENDERED = ("CMakeLists.txt", "README.md", "image.hpp", "main.cpp", "tests/golden.cpp", "vit.hpp")
COPIED = tuple(f"third_party/{name}" for name in ("LICENSE.stb", "stb_image.cpp", "stb_image.h"))
PAIRS = "std::pair<std::vector<float>, std::vector<std::int64_t>>"
"""What answers the best classes: their scores, and which they are."""
SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
"""Pixels on either side that a filter sees."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a project says of the runtime of its target."""

    name: str
    library: str
    flag: str
    includes: str
    folder: str
    windows: str


RUNTIMES = {
    "onnx": Runtime(
        name="ONNX Runtime",
        library="onnxruntime::onnxruntime",
        flag="-DONNXRUNTIME_ROOT",
        includes="#include <onnxruntime_cxx_api.h>",
        folder="/opt/onnxruntime-linux-x64-1.22.0",
        windows="C:\\onnxruntime-win-x64-1.22.0",
    ),
    "torchscript": Runtime(
        name="LibTorch",
        library="${TORCH_LIBRARIES}",
        flag="-DCMAKE_PREFIX_PATH",
        includes="#include <ATen/Parallel.h>\n#include <torch/script.h>",
        folder="/opt/libtorch",
        windows="C:\\libtorch",
    ),
}


def check_target(target: str) -> None:
    """Nothing, when there are C++ templates for `target`.

    Raises:
        RequestError: there are none.
    """
    if target not in RUNTIMES:
        message = f"There is no C++ for {target}."
        raise RequestError(message, f"export for {' or '.join(RUNTIMES)}.")


def file_name(manifest: Manifest) -> str:
    """What the model is called in a project."""
    return "vit.pt" if manifest.target == "torchscript" else f"vit.{manifest.target}"


def write_project(
    folder: Path, manifest: Manifest, steps: Preprocessing, images: list[str]
) -> None:
    """Writes every file of the project but the model and `golden/`, which has `images`."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: _at(name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        variable_start_string="@{",  # C++ has braces in pairs of its own
        variable_end_string="}@",
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 this is no HTML
    )
    values = _values(manifest, steps, images)
    for name in RENDERED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(environment.get_template(f"common/{name}").render(values), "utf-8")
    for name in COPIED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_at(f"common/{name}").read_bytes())
    (folder / ".clang-format").write_bytes(_at("common/clang-format").read_bytes())
    if manifest.labels:
        (folder / "labels.txt").write_text("\n".join(manifest.labels) + "\n", "utf-8")


def _at(name: str) -> Traversable:
    return TEMPLATES.joinpath(*name.split("/"))


def _values(manifest: Manifest, steps: Preprocessing, images: list[str]) -> dict[str, Any]:
    runtime = RUNTIMES[manifest.target]
    preprocess = not manifest.takes_pixels
    return {
        **_answering(manifest),
        **_resizing(steps),
        **vars(runtime),
        "runtime": runtime.name,
        "model": "".join(c for c in manifest.model if c.isprintable()),
        "file": file_name(manifest),
        "version": manifest.versions["vit-export"],
        "target": manifest.target,
        "number": "float" if preprocess else "std::uint8_t",
        "interface": manifest.interface,
        "interface_key": INTERFACE_KEY,
        "channels": manifest.signature.channels,
        "labels": bool(manifest.labels),
        "preprocess": preprocess,
        "batches": manifest.batch.takes(2),
        "images": len(images),
        "first": images[0],
        "place": "in C++" if preprocess else "inside the model file",
        "input_bound": f"{INPUT_OFF:g}" if preprocess else "nothing",
        "jpeg_bound": f"{JPEG_LEVELS} levels",
    }


def _answering(manifest: Manifest) -> dict[str, Any]:
    top5, classes = manifest.head == "top5", manifest.signature.classes or 0
    outputs = OUTPUT_NAMES.get(manifest.head, ("logits",))
    return {
        "head": manifest.head,
        "classes": classes,
        "best": min(TOP, classes),
        "each": "kBest" if top5 else "kClasses",
        "found": "[scores, classes]" if top5 else "scores",
        "answers": PAIRS if top5 else "std::vector<float>",
        "quoted_outputs": ", ".join(f'"{one}"' for one in outputs),
        "rms": manifest.tolerance.least_snr_db is not None,
        "least_log": LEAST_LOG,
    }


def _resizing(steps: Preprocessing) -> dict[str, Any]:
    import PIL

    return {
        "height": steps.crop[0],
        "width": steps.crop[1],
        "resize": steps.resize,
        "shorter": steps.resize if isinstance(steps.resize, int) else 0,
        "centre": steps.centre,
        "interpolation": steps.interpolation,
        "support": SUPPORT.get(steps.interpolation),
        "mean": _floats(steps.mean),
        "std": _floats(steps.std),
        # as in the golden inputs, which this Pillow makes, whichever the artifact was made with
        "columns_first": columns_may_come_first(PIL.__version__),
    }


def _floats(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value!r}F" for value in values)
