"""The files of a C++ project, rendered from templates for one artifact."""

from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from vit_export.artifact.manifest import INTERFACE_KEY, Manifest
from vit_export.artifact.outputs import MIN_LOG, OUTPUT_NAMES, TOP
from vit_export.backends import find_backend
from vit_export.codegen.golden import INPUT_ERROR, JPEG_ERROR
from vit_export.codegen.runtimes import TEMPLATES, load_runtime
from vit_export.core.int8_sums import FITS, FITS_KEY, PRECISE
from vit_export.data.pillow_resize import columns_may_come_first
from vit_export.data.preprocessing import Preprocessing

RENDERED_FILES = (
    "CMakeLists.txt",
    "README.md",
    "image.hpp",
    "main.cpp",
    "tests/golden.cpp",
    "vit.hpp",
)
COPIED_FILES = tuple(
    f"third_party/{name}" for name in ("LICENSE.stb", "stb_image.cpp", "stb_image.h")
)
TOP_CLASSES = "std::pair<std::vector<float>, std::vector<std::int64_t>>"
"""C++ type of the outputs of a file that answers the best classes: scores and indices."""
SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
"""Half the width of a resize filter, in pixels of the coarser grid."""


def name_model_file(manifest: Manifest) -> str:
    """Return the name of the model file in a project."""
    return f"vit{find_backend(manifest.target).suffix}"


def write_project(
    folder: Path, manifest: Manifest, preprocessing: Preprocessing, images: list[str]
) -> None:
    """Write every file of a project except the model and the golden samples.

    Args:
        folder: where the files go.
        manifest: the artifact's.
        preprocessing: from an image to the model's input, in C++ or inside the model file.
        images: file names of the golden samples.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: _find_template(name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        variable_start_string="@{",  # pairs of braces belong to C++
        variable_end_string="}@",
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 these files are not HTML
    )
    values = _make_values(manifest, preprocessing, images)
    for name in RENDERED_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(environment.get_template(f"common/{name}").render(values), "utf-8")
    for name in COPIED_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_find_template(f"common/{name}").read_bytes())
    (folder / ".clang-format").write_bytes(_find_template("common/clang-format").read_bytes())
    if manifest.labels:
        (folder / "labels.txt").write_text("\n".join(manifest.labels) + "\n", "utf-8")


def _find_template(name: str) -> Traversable:
    return TEMPLATES.joinpath(*name.split("/"))


def _make_values(
    manifest: Manifest, preprocessing: Preprocessing, images: list[str]
) -> dict[str, Any]:
    """Return the values of all names in the templates."""
    runtime = load_runtime(manifest.target)
    in_cpp = not manifest.takes_pixels
    return {
        **_make_output_values(manifest),
        **_make_resize_values(preprocessing),
        **vars(runtime),
        "runtime": runtime.name,
        "model": "".join(c for c in manifest.model if c.isprintable()),
        "file": name_model_file(manifest),
        "version": manifest.versions["vit-export"],
        "target": manifest.target,
        "number": "float" if in_cpp else "std::uint8_t",
        "interface": manifest.interface,
        "interface_key": INTERFACE_KEY,
        "int8": "int8" in manifest.precision or manifest.precision == "auto",
        "fits_key": FITS_KEY,
        "fits": FITS,
        "precise": PRECISE,
        "channels": manifest.signature.channels,
        "labels": bool(manifest.labels),
        "preprocess": in_cpp,
        "batches": manifest.batch.takes(2),
        "images": len(images),
        "first": images[0],
        "place": "in C++" if in_cpp else "inside the model file",
        "input_bound": f"{INPUT_ERROR:g}" if in_cpp else "0",
        "jpeg_bound": f"{JPEG_ERROR} of 255",
    }


def _make_output_values(manifest: Manifest) -> dict[str, Any]:
    top5, classes = manifest.head == "top5", manifest.signature.classes or 0
    outputs = OUTPUT_NAMES.get(manifest.head, ("logits",))
    return {
        "head": manifest.head,
        "classes": classes,
        "best": min(TOP, classes),
        "scores_per_image": "kBest" if top5 else "kClasses",
        "outputs": "[scores, classes]" if top5 else "scores",
        "output_type": TOP_CLASSES if top5 else "std::vector<float>",
        "quoted_output_names": ", ".join(f'"{name}"' for name in outputs),
        "rms": not manifest.tolerance.limits_largest_error,
        "least_log": MIN_LOG,
    }


def _make_resize_values(preprocessing: Preprocessing) -> dict[str, Any]:
    import PIL

    resize = preprocessing.resize
    return {
        "height": preprocessing.crop[0],
        "width": preprocessing.crop[1],
        "resize": resize,
        "shorter": resize if isinstance(resize, int) else 0,
        "centre": preprocessing.centre,
        "interpolation": preprocessing.interpolation,
        "support": SUPPORT.get(preprocessing.interpolation),
        "mean": _format_floats(preprocessing.mean),
        "std": _format_floats(preprocessing.std),
        # as in the golden inputs: this Pillow makes them, whichever one the artifact came from
        "columns_first": columns_may_come_first(PIL.__version__),
    }


def _format_floats(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value!r}F" for value in values)
