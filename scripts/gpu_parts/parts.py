"""The parts of a run, in their order, and the process in which each of them runs."""

import sys
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from time import monotonic

from gpu_parts.context import Context
from gpu_parts.folder import read_contents
from gpu_parts.results import Row, describe, write_row


@dataclass(frozen=True)
class Part:
    """One part: a function that yields rows, in a process of its own."""

    name: str
    function: str
    """`module:function` in this package; it takes a Context."""
    limit_s: float
    """Longest that it may take."""


PARTS = (
    Part("folder", "machine:check_folder", 30),
    Part("doctor", "machine:run_doctor", 30),
    Part("device", "machine:run_device_commands", 90),
    Part("make", "torchscript:make_files", 120),
    Part("torchscript", "torchscript:prove_files", 150),
    Part("tampered", "torchscript:reject_tampered", 60),
    Part("speed", "speed:measure_speed", 220),
    Part("refusals", "refusals:try_refusals", 60),
    Part("rtx", "engines:run_rtx_engines", 120),
    Part("tensorrt", "engines:run_other_engines", 90),
)


def run_part(part: Part, context: Context, rows: Path) -> None:
    """Run a part in this process; every row is written when it is there.

    What it raises is a row too, so that the parts after it run.
    """
    module, _, name = part.function.partition(":")
    started = monotonic()
    try:
        function = getattr(import_module(f"gpu_parts.{module}"), name)
        for row in function(context):
            now = monotonic()
            write_row(rows, replace(row, part=part.name, seconds=round(now - started, 2)))
            started = now
    except Exception as error:  # noqa: BLE001 whatever it is, it is a result
        case, facts = "the part ended early", describe(error)
        write_row(rows, Row(case=case, outcome="FAILED", facts=facts, part=part.name))


def main(name: str, function: str, folder: str, work: str, device: str) -> None:
    """Run one part, as the process that `runner` starts."""
    root = Path(folder)
    context = Context(folder=root, work=Path(work), device=device, contents=read_contents(root))
    run_part(Part(name, function, limit_s=0), context, Path(work) / f"{name}.jsonl")


if __name__ == "__main__":
    main(*sys.argv[1:])
