"""Writes the table of README.md that says what a bare checkpoint is asked for, and what is assumed.

    python scripts/docs_readings.py            # writes it
    python scripts/docs_readings.py --check    # fails when it is out of date

The families themselves give the rows: their conventions are assumed, and what they have none for is
asked. Families with the same questions and assumptions share a row.
"""

from docs_regions import Region

from vit_export.checkpoints.assumptions import KEYS
from vit_export.checkpoints.families import FAMILIES
from vit_export.checkpoints.families.base import UNKNOWN, Family, Question

CHOICES = {"pool": "pool", "mlp": "activation", "norm_eps": "epsilon"}
"""Facts that no tensor shows, as fields of VitSpec, with their words in the table."""
OPTIONS = {"heads": "--heads", "mlp": "--activation", "block": "--arch", "pool": "--pool"}
POOL_OF_TENSORS = "the pool that norms and tokens suggest"


def list_questions(family: Family) -> list[str]:
    """Return what a bare file of a family is asked for."""
    if family.conventions.get("rotary") == UNKNOWN:
        return ["`--arch`"]
    settled = {*family.conventions, *family.fixed, "pool"}
    asked = [OPTIONS[name] for name in ("heads", "mlp") if name not in settled]
    return [
        *(f"`{option}`" for option in asked),
        *(_describe(one) for one in family.questions),
    ]


def _describe(question: Question) -> str:
    option = f"`{OPTIONS[question.field]}`"
    return f"{option} where it has {question.when}" if question.when else option


def list_assumptions(family: Family) -> list[str]:
    """Return what is assumed of a bare file of a family."""
    rotary = family.conventions.get("rotary")
    if rotary == UNKNOWN:
        return []
    asked = {one.field for one in family.questions if not one.when}
    settled = family.fixed | asked
    conventions = {n: v for n, v in family.conventions.items() if n not in settled}
    known = [
        f"{word} `{str(conventions[name]).replace('e-0', 'e-')}`"
        for name, word in CHOICES.items()
        if name in conventions and name in KEYS
    ]
    if "pool" not in family.conventions:
        known.insert(0, POOL_OF_TENSORS)
    if rotary is not None:
        known += [f"rotary {rotary.describe()}", "heads by width", "images of 224"]
    return [*known, *([f"{family.block} blocks"] if family.block else [])]


def write_rows() -> str:
    """Return the table, with the families of a row joined."""
    rows: dict[tuple[str, str], list[str]] = {}
    for family in FAMILIES:
        if family.conventions or family.library:
            columns = ("; ".join(list_questions(family)), ", ".join(list_assumptions(family)))
            rows.setdefault(columns, []).append(family.name)
    lines = ["| family | asked for | assumed |", "| --- | --- | --- |"]
    for (asked, assumed), names in rows.items():
        lines.append(f"| {', '.join(names)} | {asked or 'nothing'} | {assumed or '-'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    Region("README.md", "readings", "scripts/docs_readings.py").write_or_check(write_rows())
