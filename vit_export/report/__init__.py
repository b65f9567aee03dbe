"""What is printed: values to text or JSON. No arithmetic here."""

from vit_export.report.document import to_json
from vit_export.report.inspections import print_inspection, print_summary
from vit_export.report.listings import (
    print_bench,
    print_generated,
    print_health,
    print_models,
    print_predictions,
)
from vit_export.report.tables import stages
from vit_export.report.verdicts import (
    print_built,
    print_location,
    print_random_weights,
    print_verdict,
)

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
