"""Runs the whole sweep `reading` and writes its outcome into docs/reading.md.

    python scripts/reading_sweep.py               # an hour on two cores
    scripts/sweep reading --junit-xml=results.xml && python scripts/reading_sweep.py results.xml

A sweep with a case that is read wrong is not written.
"""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from docs_regions import ROOT, Region

OUTCOMES = ("right", "asked", "assumed", "refused", "impossible")
FORMS = {
    "folder": "folder with config.json",
    "arch": "bare file with `--arch`",
    "bare": "bare file",
}
Rows = dict[tuple[str, str, str], Counter[str]]
"""How often each outcome was seen, by library, form and family."""


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(sys.argv[1]) if len(sys.argv) > 1 else run(Path(folder) / "results.xml")
        rows = read(results)
    region = Region("docs/reading.md", "sweep", "scripts/reading_sweep.py")
    region.write("\n".join([*list_rows(rows), "", describe_run(rows)]))


def run(results: Path) -> Path:
    """Run every case, and return the file with the outcomes."""
    command = [str(ROOT / "scripts" / "sweep"), "reading", f"--junit-xml={results}"]
    subprocess.run(command, check=True)
    return results


def read(results: Path) -> Rows:
    """Return the outcomes of a run.

    A case that failed ends this process.
    """
    rows: Rows = defaultdict(Counter)
    for case in ET.parse(results).iter("testcase"):  # noqa: S314 pytest wrote it
        if case.find("failure") is not None or case.find("error") is not None:
            sys.exit(f"{case.get('name')} failed: mend it, and run the sweep again")
        values = {one.get("name"): one.get("value", "") for one in case.iter("property")}
        library, form, family = values["case"].split("|")
        asked = values["outcome"] == "right" and values["words"]
        rows[library, form, family]["asked" if asked else values["outcome"]] += 1
    return rows


def list_rows(rows: Rows) -> list[str]:
    """Return the lines of the table: one row per library, form and family."""
    lines = [
        f"| library | checkpoint | family | {' | '.join(OUTCOMES)} |",
        f"| --- | --- | --- |{' ---: |' * len(OUTCOMES)}",
    ]
    for (library, form, family), counts in sorted(rows.items()):
        cells = " | ".join(str(counts[one] or "") for one in OUTCOMES)
        lines.append(f"| {library} | {FORMS[form]} | {family} | {cells} |")
    return lines


def describe_run(rows: Rows) -> str:
    """Return a sentence with the totals, the versions, the commit and the date."""
    total = sum((counts for counts in rows.values()), Counter[str]())
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    parts = ", ".join(f"{total[one]} {one}" for one in OUTCOMES)
    versions = ", ".join(f"{name} {version(name)}" for name in ("timm", "transformers"))
    day = datetime.now(UTC).date()
    return f"{total.total()} cases: {parts}, 0 wrong. {versions}; commit {commit.strip()}, {day}."


if __name__ == "__main__":
    main()
