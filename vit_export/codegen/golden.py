"""What a program is held against: images, what is fed of them, eager PyTorch's answers."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import TOP, align_for_comparison
from vit_export.artifact.reference import Reference
from vit_export.core.numerics import Array
from vit_export.data.images import read_input, read_pixels
from vit_export.data.preprocessing import Preprocessing
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import choose_pixel_recipes, find_photo, make_pixels, to_pillow

AS_PPM = ("noise:2", "flat")
"""Recipes whose image is written as PPM (PGM), the others as PNG."""
JPEG = "photo:cat"
JPEG_LEVELS = 8
"""What two decoders of JPEG may differ by at a pixel; stb_image was seen 3 off libjpeg-turbo."""
INPUT_OFF = 1e-5
"""Of normalized numbers: the rounding of other compilers. A level is a thousand times as much."""
NOT_COMPARED = 0.0


@dataclass(frozen=True, eq=False)
class Golden:
    """Samples, as files and as numbers; `reference` has the eager answers to them."""

    manifest: Manifest
    samples: SampleSet
    reference: Reference

    def write(self, folder: Path, steps: Preprocessing) -> list[str]:
        """Writes all into `folder`; hands out the names of the images."""
        rows = []
        for i, recipe in enumerate(self.samples.recipes):
            name = _file_name(recipe)
            (folder / name).write_bytes(_content(recipe, steps))
            np.asarray(self.samples.file_inputs[i]).tofile(folder / f"{name}.input")
            logits = self.reference.answers[i].astype("<f4")
            logits.tofile(folder / f"{name}.logits")
            rows.append((name, self._input_bound(), self._answer_bound(i)))
        rows.append((self._jpeg(folder, steps), self._jpeg_bound(steps), NOT_COMPARED))
        lines = (f"{name} {bound:.9g} {answer:.9g}\n" for name, bound, answer in rows)
        (folder / "index.txt").write_text("".join(lines), encoding="utf-8")
        return [name for name, *_ in rows]

    def _jpeg(self, folder: Path, steps: Preprocessing) -> str:
        from PIL import Image

        name = _file_name(JPEG).replace(".png", ".jpg")
        with Image.open(find_photo(JPEG.partition(":")[2])) as image:
            image.save(folder / name, quality=90)
        read = read_pixels if self.manifest.takes_pixels else read_input
        read(folder / name, steps).tofile(folder / f"{name}.input")
        return name

    def _input_bound(self) -> float:
        return 0.0 if self.manifest.takes_pixels else INPUT_OFF

    def _jpeg_bound(self, steps: Preprocessing) -> float:
        return JPEG_LEVELS if self.manifest.takes_pixels else JPEG_LEVELS / 255 / min(steps.std)

    def _answer_bound(self, index: int) -> float:
        """Of the logarithms of probabilities: the largest error, or its root mean square."""
        tolerance = self.manifest.tolerance
        expected = log_probabilities(self.reference.answers[index])
        if tolerance.least_snr_db is None:
            return tolerance.max_error(expected, self.reference.floors[index])
        best = np.sort(expected)[::-1][: TOP if self.manifest.head == "top5" else None]
        return tolerance.max_error(best, 0) / float(np.sqrt(best.size))


def log_probabilities(logits: Array) -> Array:
    """Logarithms of the softmax of `logits`, as the proof has them."""
    return align_for_comparison("softmax", logits, np.zeros_like(logits))[0]


def _file_name(recipe: str) -> str:
    return recipe.replace(":", "_") + (".ppm" if recipe.startswith(AS_PPM) else ".png")


def _content(recipe: str, steps: Preprocessing) -> bytes:
    """The image file: a photograph as it ships, in colour even for a model of grey."""
    if recipe.startswith("photo:"):
        return find_photo(recipe.partition(":")[2]).read_bytes()
    kind = "PPM" if recipe.startswith(AS_PPM) else "PNG"
    buffer = io.BytesIO()
    to_pillow(make_pixels(recipe, steps)).save(buffer, kind)
    return buffer.getvalue()


def recipes_of(manifest: Manifest, steps: Preprocessing) -> list[str]:
    """The images of a golden folder: those of the proof, if it was on images."""
    if manifest.takes_pixels:
        return list(manifest.reference.recipes)
    return choose_pixel_recipes(steps)
