"""What a manifest claims about its file, held against what the file and this machine show.

Who can edit a file can edit its manifest. So the tolerance comes from the table in the code, by the
arithmetic in the file; a claim can only make it stricter.
"""

from collections.abc import Collection, Sequence

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.precision import PRECISIONS
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.errors import RequestError
from vit_export.core.packages import find_versions
from vit_export.validation.sample_set import SampleSet
from vit_export.validation.samples import digest
from vit_export.validation.tolerances import TOLERANCES, combine, raise_to

AUTO = "auto"
PHOTO = "photo:"
"""Recipes of samples that Pillow makes; other versions of it may make them differently."""


def choose_tolerance(
    manifest: Manifest, arithmetic: Collection[str] | None, min_snr: float | None = None
) -> Tolerance:
    """Return how far the answers of a file may be off.

    Args:
        manifest: the file's own claims; a budget of precision auto makes the tolerance stricter.
        arithmetic: the precisions in which the file computes; None if it cannot be read here.
        min_snr: the user's minimum SNR in dB; it replaces the file's budget.

    Raises:
        RequestError: `min_snr` is below the limit of this arithmetic.
    """
    if arithmetic is not None:
        tolerance = combine(arithmetic)
    else:
        tolerance = TOLERANCES.get(manifest.precision, TOLERANCES["int8"])
    if min_snr is not None:
        check_min_snr(min_snr, tolerance.least_snr_db or 0)
        return raise_to(tolerance, min_snr, "the minimum that --min-snr sets")
    budget = manifest.tolerance.least_snr_db
    if manifest.precision == AUTO and budget is not None:
        return raise_to(tolerance, budget, "the budget that the file claims")
    return tolerance


def check_min_snr(min_snr: float, limit_db: float) -> None:
    """Raise RequestError if the user's minimum SNR is below the limit of the table, in dB."""
    if not min_snr >= limit_db:
        message = f"--min-snr {min_snr:g} is below {limit_db:g} dB, the least that is proven."
        raise RequestError(message, f"take {limit_db:g} or more.")


def describe_limit(manifest: Manifest, tolerance: Tolerance) -> str:
    """Return the minimum SNR of a file in words, and where it comes from if it is a budget."""
    least = f"at least {tolerance.least_snr_db:g} dB" if tolerance.least_snr_db else "no minimum"
    return f"{least}, {tolerance.reason}" if manifest.precision == AUTO else least


def find_false_precision(manifest: Manifest, arithmetic: Collection[str] | None) -> list[str]:
    """Return a sentence if a file computes in another precision than its manifest claims."""
    if arithmetic is None:
        return []
    claimed, order = manifest.precision, list(TOLERANCES)
    unknown = set(arithmetic) - set(order)
    words = " and ".join(sorted(arithmetic))
    if unknown:
        return ["it holds numbers of a type that vit-export never writes"]
    if claimed == AUTO:
        return []
    least = max(arithmetic, key=order.index)
    is_coarser = order.index(least) > order.index(claimed)
    kinds = {PRECISIONS[name].arithmetic for name in arithmetic}
    if is_coarser or PRECISIONS[claimed].arithmetic not in kinds:
        return [f"its manifest claims {claimed}, and the file computes in {words}"]
    return []


def find_false_samples(manifest: Manifest, samples: SampleSet) -> list[str]:
    """Return a sentence for each sample that has to come out as the manifest says and does not.

    Samples that were drawn for this proof come last and have no claim. Noise and flat samples have
    the same bits on every machine. Photographs have them wherever Pillow has the version that made
    the file.
    """
    same_pillow = manifest.versions.get("pillow") == find_versions(["pillow"]).get("pillow")
    return [
        f"{recipe} is not the sample that its manifest names"
        for recipe, one, expected in zip(
            samples.recipes, samples.file_inputs, manifest.reference.digests, strict=False
        )
        if (same_pillow or not recipe.startswith(PHOTO)) and digest(one) != expected
    ]


def find_too_few(usable: Sequence[int], total: int) -> list[str]:
    """Return a sentence unless the majority of the samples can be made again."""
    if 2 * len(usable) > total:
        return []
    return [f"only {len(usable)} of {total} samples can be made again here"]
