"""Golden samples: images, the model's input for each, and the answers of eager PyTorch."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import OutputHead, align_for_comparison, measure_output_signal
from vit_export.artifact.reference import Reference
from vit_export.codegen.answers import answers_classes
from vit_export.core.numerics import Array
from vit_export.data.images import read_input, read_pixels
from vit_export.data.preprocessing import Preprocessing
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import (
    check_recipes,
    choose_pixel_recipes,
    find_photo,
    make_pixels,
    to_pillow,
)

AS_PPM = ("noise:2", "flat")
"""Recipes of images that are written as PPM (PGM); the others are written as PNG."""
JPEG = "photo:cat"
"""Recipe of the image that is written as JPEG too."""
JPEG_ERROR = 8
"""Allowed difference of two JPEG decoders at a pixel; stb_image was 3 off libjpeg-turbo.

The decoder of libjpeg-turbo is Pillow's own, and off by nothing in general."""
INPUT_ERROR = 1e-5
"""Allowed difference of a normalized number between compilers; a pixel value off by one makes a
thousand times as much."""
NOT_COMPARED = 0.0
"""The bound of an answer that is not compared."""


@dataclass(frozen=True, eq=False)
class Golden:
    """Golden samples, before they become files."""

    manifest: Manifest
    samples: SampleSet
    reference: Reference
    """The eager answers to the samples."""

    def write(self, folder: Path, preprocessing: Preprocessing) -> list[str]:
        """Write images, inputs, answers and their bounds; return the names of the images."""
        rows = list[tuple[str, tuple[float, ...]]]()
        for i, recipe in enumerate(self.samples.recipes):
            name = _name_file(i, recipe)
            (folder / name).write_bytes(_encode_image(recipe, preprocessing))
            np.asarray(self.samples.file_inputs[i]).tofile(folder / f"{name}.input")
            suffix = "logits" if answers_classes(self.manifest) else "outputs"
            self.reference.answers[i].astype("<f4").tofile(folder / f"{name}.{suffix}")
            rows.append((name, (self._bound_input(), *self._bound_answers(i))))
        jpeg = self._write_jpeg(folder, preprocessing)
        outputs = len(self.manifest.signature.outputs)
        rows.append((jpeg, (self._bound_jpeg(preprocessing), *[NOT_COMPARED] * outputs)))
        lines = (" ".join([name, *(f"{one:.9g}" for one in bounds)]) for name, bounds in rows)
        (folder / "index.txt").write_text("".join(f"{one}\n" for one in lines), encoding="utf-8")
        return [name for name, _ in rows]

    def _write_jpeg(self, folder: Path, preprocessing: Preprocessing) -> str:
        from PIL import Image

        name = f"{len(self.samples.recipes)}.jpg"
        with Image.open(find_photo(JPEG.partition(":")[2])) as image:
            image.save(folder / name, quality=90)
        read = read_pixels if self.manifest.takes_pixels else read_input
        read(folder / name, preprocessing).tofile(folder / f"{name}.input")
        return name

    def _bound_input(self) -> float:
        return 0.0 if self.manifest.takes_pixels else INPUT_ERROR

    def _bound_jpeg(self, preprocessing: Preprocessing) -> float:
        if self.manifest.takes_pixels:
            return JPEG_ERROR
        return JPEG_ERROR / 255 / min(preprocessing.std)

    def _bound_answers(self, index: int) -> Iterator[float]:
        """Yield the allowed error of each output of the program.

        That is of a log-probability, a logit behind a sigmoid, or a number. It bounds the largest
        error if the tolerance does, else the root mean square error.
        """
        tolerance, signature = self.manifest.tolerance, self.manifest.signature
        head = find_program_head(self.manifest)
        pairs = self.manifest.reference.split(signature), self.reference.split(signature)
        for (_, stored), (_, right) in zip(*pairs, strict=True):
            signal = measure_output_signal(head, stored.answers)
            if tolerance.limits_largest_error:
                expected = compute_expected(head, right.answers[index])
                yield tolerance.max_error(expected, right.floors[index], signal)
            else:
                yield tolerance.max_rms_error(signal)


def choose_golden_recipes(manifest: Manifest, preprocessing: Preprocessing) -> list[str]:
    """Return recipes of images: those of the proof if it ran on images, else others.

    Raises:
        RequestError: a recipe in the manifest makes no sample of the file.
    """
    if manifest.takes_pixels:
        check_recipes(manifest.reference.recipes, preprocessing, pixels=True)
        return list(manifest.reference.recipes)
    return choose_pixel_recipes(preprocessing)


def find_program_head(manifest: Manifest) -> OutputHead:
    """Return what the program answers for all classes, whatever the file answers."""
    function = manifest.score_function if answers_classes(manifest) else "none"
    return OutputHead("logits" if function == "none" else function)


def compute_expected(head: OutputHead, logits: Array) -> Array:
    """Return what `logits` (classes,) become for the comparison of a proof."""
    return align_for_comparison(head, logits, np.zeros_like(logits))[0]


def _name_file(index: int, recipe: str) -> str:
    """Return the name of an image, which has no part of its recipe: anybody may have written it."""
    return f"{index}.ppm" if recipe.startswith(AS_PPM) else f"{index}.png"


def _encode_image(recipe: str, preprocessing: Preprocessing) -> bytes:
    """Return the content of an image file.

    A photograph stays as it ships, in colour even for a model of grey images.
    """
    if recipe.startswith("photo:"):
        return find_photo(recipe.partition(":")[2]).read_bytes()
    kind = "PPM" if recipe.startswith(AS_PPM) else "PNG"
    buffer = io.BytesIO()
    to_pillow(make_pixels(recipe, preprocessing)).save(buffer, kind)
    return buffer.getvalue()
