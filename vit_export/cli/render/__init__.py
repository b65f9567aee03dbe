"""What is printed: values to text or JSON. No arithmetic here."""

from vit_export.cli.render.inspection import print_inspection, print_summary
from vit_export.cli.render.listings import (
    print_bench,
    print_generated,
    print_health,
    print_models,
    print_predictions,
)
from vit_export.cli.render.tables import stages
from vit_export.cli.render.verdict import (
    print_built,
    print_location,
    print_random_weights,
    print_verdict,
)
from vit_export.core.to_json import to_json

__all__ = [
    "print_bench",
    "print_built",
    "print_generated",
    "print_health",
    "print_inspection",
    "print_location",
    "print_models",
    "print_predictions",
    "print_random_weights",
    "print_summary",
    "print_verdict",
    "stages",
    "to_json",
]
