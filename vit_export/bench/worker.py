"""One contestant in a process of its own: opens it, then runs bursts on request.

Requests and replies are JSON, a line each, on stdin and stdout; whatever a runtime prints goes to
stderr. `turns.Worker` is the other end.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.bench.candidates import Contestant, Run
from vit_export.bench.openers import clock_of, opened
from vit_export.core.errors import VitExportError


def main() -> None:
    """Serves one contestant until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contestant = Contestant(**json.loads(sys.stdin.readline()))
    try:
        started = time.perf_counter()
        run, version = opened(contestant)
        load_ms = 1000 * (time.perf_counter() - started)
        replies.write(json.dumps({"load_ms": load_ms, "version": version}) + "\n")
        for line in sys.stdin:
            replies.write(json.dumps(_reply(run, json.loads(line))) + "\n")
    except Exception as error:  # noqa: BLE001 the parent tells whatever a runtime raises
        told = error.message if isinstance(error, VitExportError) else f"{error!r}"
        replies.write(json.dumps({"error": told.partition("\n")[0]}) + "\n")


def _reply(run: Run, request: dict[str, Any]) -> dict[str, Any]:
    if "samples" in request:
        answers = [run(batch)[0] for batch in np.load(request["samples"])]
        np.save(request["answers"], np.stack(answers))
        return {}
    images = np.random.default_rng(0).standard_normal(request["shape"], np.float32)
    for _ in range(request["untimed"]):
        run(images)
    clock = clock_of(run)
    times = [clock(images) for _ in range(request["calls"])]
    return {"ms": times, "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """The largest resident size so far. Not ru_maxrss on Linux: that begins with the parent's."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
    lines = status.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
