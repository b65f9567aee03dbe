"""The child process of one candidate: it opens the candidate, then runs bursts on request.

Requests and replies are JSON, one per line, on stdin and stdout. Whatever a runtime prints goes to
stderr. `interleave.Worker` is the parent's end.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from vit_export.backends.session import RunFailedError
from vit_export.bench.candidates import Candidate
from vit_export.bench.runners import Runner, open_candidate
from vit_export.core.errors import RequestError, VitExportError


def main() -> None:
    """Serve one candidate until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    candidate = Candidate.from_mapping(json.loads(sys.stdin.readline()))
    try:
        started = time.perf_counter()
        runner = open_candidate(candidate)
        load_ms = 1000 * (time.perf_counter() - started)
        replies.write(json.dumps({"load_ms": load_ms, "version": runner.version}) + "\n")
        for line in sys.stdin:
            replies.write(json.dumps(_serve(runner, json.loads(line))) + "\n")
    except Exception as error:  # noqa: BLE001 the parent reports whatever a runtime raises
        message = error.message if isinstance(error, VitExportError) else f"{error!r}"
        reply: dict[str, Any] = {"error": message.partition("\n")[0]}
        if isinstance(error, RequestError | RunFailedError):
            reply |= {"fix": error.fix, "exit_code": error.exit_code}
        replies.write(json.dumps(reply) + "\n")


def _serve(runner: Runner, request: dict[str, Any]) -> dict[str, Any]:
    if "samples" in request:
        answers = [runner.run(batch)[0] for batch in np.load(request["samples"])]
        np.save(request["answers"], np.stack(answers))
        return {}
    images = np.random.default_rng(0).standard_normal(request["shape"], np.float32)
    for _ in range(request["warmup"]):
        runner.run(images)
    times_ms = [runner.time_ms(images) for _ in range(request["calls"])]
    return {"ms": times_ms, "peak_bytes": _read_peak_bytes()}


def _read_peak_bytes() -> int:
    """Return the largest resident size of this process so far.

    On Linux ru_maxrss would not do: it starts with the size of the parent.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        import resource  # Windows lacks it

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
    lines = status.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
