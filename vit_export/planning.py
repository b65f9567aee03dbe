"""The step between lowering and building: what precision asks of a module and of its manifest."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from vit_export.compare import TOLERANCES
from vit_export.manifest import Array, Manifest
from vit_export.precision import Asked
from vit_export.progress import Progress

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.quantize.plan import Plan
    from vit_export.vit.lower import LoweredVit


@dataclass(frozen=True, kw_only=True)
class Planned:
    """How each layer is quantized, and what the manifest says of it."""

    plan: "Plan"
    manifest: Manifest
    notes: tuple[str, ...] = ()
    """What the user should know of the calibration."""


def planned(
    lowered: "LoweredVit", manifest: Manifest, asked: Asked, samples: Array, progress: Progress
) -> Planned:
    """The plan for `lowered`, which is changed in place where layers are quantized.

    Scales are found on the images of the request, else on the photographs among `samples`, else on
    all of these.

    Raises:
        RequestError: no images to calibrate on, too many unreadable ones, or one on which an
            activation is not finite.
    """
    from vit_export.quantize.images import Pictures
    from vit_export.quantize.plan import Plan
    from vit_export.quantize.prepare import prepare

    manifest = replace(
        manifest, precision=asked.precision, tolerance=asdict(TOLERANCES[asked.precision])
    )
    if asked.precision in {"fp32", "fp16"}:
        return Planned(plan=Plan(), manifest=manifest)
    flavour = str(manifest.settings["flavour"])
    if asked.calibration is None:
        plan, _ = prepare(lowered, asked, flavour, shipped(manifest, samples), progress)
        return Planned(plan=plan, manifest=replace(manifest, layers=plan.schemes))
    pictures = Pictures.of(asked.calibration, manifest.preprocessing)
    plan, classes = prepare(lowered, asked, flavour, pictures, progress)
    notes = [f"calibration: {note}" for note in pictures.notes()]
    if manifest.spec.classifies and classes == 1:
        notes.append("calibration: all images are of one class, by the model's own answers")
    told = {"images": len(pictures) - len(pictures.unreadable)}
    manifest = replace(
        manifest,
        layers=plan.schemes,
        calibration=told | {"sha256": pictures.sha256.hexdigest()},
    )
    return Planned(plan=plan, manifest=manifest, notes=tuple(notes))


def shipped(manifest: Manifest, samples: Array) -> list[tuple[str, Array]]:
    """Names and inputs of the photographs among `samples`; where there are none, of all."""
    named = list(zip(manifest.reference.recipes, samples, strict=False))
    return [one for one in named if one[0].startswith("photo:")] or named
