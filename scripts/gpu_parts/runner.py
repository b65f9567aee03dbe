"""Runs the parts in their order within the time, and writes what is known after each of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from gpu_parts.context import CPU, CUDA
from gpu_parts.folder import StopError, join_parts, read_contents
from gpu_parts.machine import describe_machine, has_gpu
from gpu_parts.parts import PARTS, Part
from gpu_parts.results import Row, has_failed, read_rows, render_text, write_results

SCRIPTS = Path(__file__).parents[1]
BUDGET_S = 480
"""Longest of a whole run: eight minutes."""
LEAST_S = 5
"""A part that has less time is not started."""
SAY = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where parts run, and with what."""

    folder: Path
    work: Path
    device: str
    environment: dict[str, str]


def run(
    folder: Path,
    work: Path,
    *,
    is_dry: bool,
    budget_s: float = BUDGET_S,
    parts: Sequence[Part] = PARTS,
    say: SAY = print,
) -> bool:
    """Run every part on what `prepare` made; return whether nothing failed.

    Args:
        folder: the prepared folder; `results.json` and `results.md` are written into it.
        work: an empty folder for what the run makes.
        is_dry: run on the CPU, with the same files in the same order.
        budget_s: longest of the whole run in seconds. More than `BUDGET_S` gives parts more too.
        parts: what to run.
        say: called with each line of the report.

    Raises:
        StopError: the folder was not prepared, there is no GPU, or the wheel can't be installed.
    """
    started = monotonic()
    folder, work = folder.resolve(), work.resolve()
    contents = read_contents(folder)
    if not is_dry and not has_gpu():
        raise StopError("No GPU is here.", "run it where one is, or with --dry-run.", 3)
    place = Place(
        folder=folder,
        work=work,
        device=CPU if is_dry else CUDA,
        environment=_install(folder, work, has_engines=contents.has_engines),
    )
    machine = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "run": "dry, on the CPU" if is_dry else "on the GPU",
        **describe_machine(),
    }
    rows: list[Row] = []
    for part in parts:
        longest = part.limit_s * max(1.0, budget_s / BUDGET_S)
        left = budget_s - (monotonic() - started)
        new_rows = run_part(replace(part, limit_s=longest), place, left)
        rows += new_rows
        machine["seconds"] = f"{monotonic() - started:.0f} of {budget_s:.0f}"
        write_results(folder, machine, rows)
        say(render_text(new_rows))
    say(f"{folder / 'results.json'}, {folder / 'results.md'}: {machine['seconds']} s")
    return not has_failed(rows)


def _install(folder: Path, work: Path, *, has_engines: bool) -> dict[str, str]:
    """Install the wheel beside nothing else; return the environment in which the parts run.

    Raises:
        StopError: pip could not.
    """
    site = work / "site"
    wheels = sorted((folder / "wheels").glob("*.whl"))
    paths = [site, folder / "pure", SCRIPTS]
    if has_engines:
        wheels += join_parts(folder / "engines", work)
        paths.insert(2, folder / "pure-rtx")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    words += ["--no-deps", "--no-index", "--no-compile", "--target", str(site)]
    refusals = []
    for wheel in wheels:  # one by one: the bindings of another Python must not stop the others
        done = subprocess.run(
            [*words, "--upgrade", str(wheel)], capture_output=True, text=True, check=False
        )
        refusals += [f"{wheel.name}: {done.stderr.strip()}"] if done.returncode else []
    if not (site / "vit_export").is_dir():
        message = f"pip installed no vit-export: {'; '.join(refusals)}"
        raise StopError(message, "prepare it again, and run it with a python3 that has pip.")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def run_part(part: Part, place: Place, left_s: float) -> list[Row]:
    """Return the rows of a part that ran in a process of its own, stopped when its time is over.

    `left_s` is what is left of the whole run.
    """
    if left_s < LEAST_S:
        facts = "the time of the run was over"
        return [Row(case="not run", outcome="skipped", facts=facts, part=part.name)]
    limit = min(part.limit_s, left_s)
    words = [sys.executable, "-P", "-m", "gpu_parts.parts", part.name, part.function]
    process = subprocess.Popen(
        [*words, str(place.folder), str(place.work), place.device],
        env=place.environment,
        cwd=place.work,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    problem = ""
    try:
        _, errors = process.communicate(timeout=limit)
        if process.returncode:
            problem = f"its process ended with {process.returncode}: {errors.strip()[-400:]}"
    except subprocess.TimeoutExpired:
        _stop(process)
        problem = f"it was stopped after {limit:.0f} s"
    rows = read_rows(place.work / f"{part.name}.jsonl")
    if problem:
        return [*rows, Row(case="the part", outcome="FAILED", facts=problem, part=part.name)]
    return rows or [Row(case="nothing to do", outcome="skipped", part=part.name)]


def _stop(process: "subprocess.Popen[str]") -> None:
    """End a part and the commands that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
