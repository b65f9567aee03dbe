"""What the parts find: rows, kept as JSON and as a table after every part."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["ok", "FAILED", "skipped", "recorded"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was tried."""

    case: str
    """What was tried: a file and how it ran, or a refusal."""
    outcome: Outcome
    """`recorded` is a fact that is neither right nor wrong."""
    facts: str = ""
    """What came out, in words and numbers."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Measured values by name, with their unit in it."""
    part: str = ""
    seconds: float = 0.0


def attempt(case: str, work: Callable[[], Row]) -> Row:
    """Return the row of `work`; one that says why, if it raises: other cases come after it."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 whatever it is, it is a result
        return Row(case=case, outcome="FAILED", facts=describe(error))


def describe(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:600]


def write_row(path: Path, row: Row) -> None:
    """Append a row to a file of JSON lines: what a part had found stays when it is stopped."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(asdict(row))}\n")


def read_rows(path: Path) -> list[Row]:
    """Return the rows of such a file; none where there is no file. A torn last line is left out."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    return [Row(**json.loads(line)) for line in lines[:-1]]


def write_results(folder: Path, machine: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Write `results.json` and `results.md` into a folder, each replaced as a whole."""
    listed = list(rows)
    document = {"machine": dict(machine), "rows": [asdict(row) for row in listed]}
    _replace(folder / "results.json", json.dumps(document, indent=1) + "\n")
    _replace(folder / "results.md", render_page(machine, listed))


def render_page(machine: Mapping[str, Any], rows: Iterable[Row]) -> str:
    """Return the results as a page in Markdown."""
    head = [f"- {name}: {value}" for name, value in machine.items()]
    table = ["| part | case | outcome | what came out |", "| --- | --- | --- | --- |"]
    table += [
        f"| {row.part} | {_cell(row.case)} | {row.outcome} | {_cell(row.facts)} |" for row in rows
    ]
    words = "Written by `scripts/gpu_proof`; [GPUs](gpu.md) explains the parts."
    return "\n".join(["# Results on a GPU", "", words, "", *head, "", *table, ""])


def render_text(rows: Iterable[Row]) -> str:
    """Return the rows as aligned lines, for a terminal."""
    cells = [(row.part, row.outcome, f"{row.case}: {row.facts}".rstrip(": ")) for row in rows]
    widths = [max((len(cell[i]) for cell in cells), default=0) for i in (0, 1)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in cells)


def has_failed(rows: Iterable[Row]) -> bool:
    """Return whether anything failed."""
    return any(row.outcome == "FAILED" for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _replace(path: Path, text: str) -> None:
    staged = path.with_name(f"{path.name}.partial")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)
