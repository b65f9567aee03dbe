"""The files of a C++ project, rendered from templates for one artifact."""

import hashlib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.artifact.manifest import INTERFACE_KEY, Manifest
from vit_export.backends import find_backend
from vit_export.codegen.answers import make_output_values
from vit_export.codegen.golden import INPUT_ERROR, JPEG_ERROR
from vit_export.codegen.quoting import QUOTING, ManifestText
from vit_export.codegen.runtimes import TEMPLATES, load_runtime
from vit_export.core.int8_sums import FITS, FITS_KEY, PRECISE
from vit_export.data.pillow_resize import columns_may_come_first
from vit_export.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    from jinja2 import Environment

HEADERS = ("vit.hpp", "image.hpp", "images/bytes.hpp", "images/decoders.hpp")
"""Some of the rendered files: those that other files include, and that name the model's classes."""
RENDERED_FILES = (
    *HEADERS,
    "CMakeLists.txt",
    "README.md",
    "cmake/config.cmake.in",
    *(f"images/{name}" for name in ("jpeg.hpp", "plain.hpp", "png.hpp")),
    *(f"images/{name}" for name in ("libraries.cpp", "load.cpp", "stb.cpp")),
    "main.cpp",
    "tests/golden.cpp",
)
COPIED_FILES = ("printable.hpp", "third_party/LICENSE.stb", "third_party/stb_image.h")
SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
"""Half the width of a resize filter, in pixels of the coarser grid."""


def name_model_file(manifest: Manifest) -> str:
    """Return the name of the model file in a project."""
    return f"vit{find_backend(manifest.target).suffix}"


def write_project(
    folder: Path,
    manifest: Manifest,
    preprocessing: Preprocessing,
    *,
    name: str,
    images: list[str],
) -> None:
    """Write every file of a project except the model and the golden samples.

    Args:
        folder: where the files go.
        manifest: the artifact's.
        preprocessing: from an image to the model's input, in C++ or inside the model file.
        name: name of the CMake project, its library and its C++ namespace.
        images: file names of the golden samples.
    """
    environment = _make_environment()
    values = _make_values(manifest, preprocessing, images) | {"name": name}
    values["id"] = _identify_headers(environment, values)
    for file in RENDERED_FILES:
        _write(folder / file, environment.get_template(f"common/{file}").render(values).encode())
    for file in COPIED_FILES:
        _write(folder / file, _find_template(f"common/{file}").read_bytes())
    runtime = _find_template(f"{manifest.target}/runtime.cmake").read_bytes()
    _write(folder / "cmake" / "runtime.cmake", runtime)
    _write(folder / ".clang-format", _find_template("common/clang-format").read_bytes())
    if manifest.labels:
        _write(folder / "labels.txt", "".join(f"{one}\n" for one in manifest.labels).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _make_environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: _find_template(name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        variable_start_string="@{",  # pairs of braces belong to C++
        variable_end_string="}@",
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 these files are not HTML; QUOTING escapes for each language
    )
    environment.filters.update(QUOTING)
    return environment


def _identify_headers(environment: "Environment", values: dict[str, Any]) -> str:
    """Return eight digits that other headers do not share.

    They are part of the namespace, so that a linker never takes one model's class for another's.
    """
    digest = hashlib.sha256()
    for header in HEADERS:
        text = environment.get_template(f"common/{header}").render(values | {"id": ""})
        digest.update(text.encode())
    return digest.hexdigest()[:8]


def _find_template(name: str) -> Traversable:
    return TEMPLATES.joinpath(*name.split("/"))


def _make_values(
    manifest: Manifest, preprocessing: Preprocessing, images: list[str]
) -> dict[str, Any]:
    """Return the values of all names in the templates."""
    runtime = load_runtime(manifest.target)
    in_cpp = not manifest.takes_pixels
    return {
        **make_output_values(manifest),
        **_make_resize_values(preprocessing),
        **vars(runtime),
        "runtime": runtime.name,
        "model": ManifestText(manifest.model),
        "file": name_model_file(manifest),
        "version": ManifestText(manifest.versions.get("vit-export", "")),
        "target": manifest.target,
        "number": "float" if in_cpp else "std::uint8_t",
        "interface": ManifestText(manifest.interface),
        "interface_key": ManifestText(INTERFACE_KEY),
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
    """Return literals of C++; a whole number has a point too, because `0F` is none."""
    return ", ".join(f"{float(value)!r}F" for value in values)
