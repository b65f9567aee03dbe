"""CPU time of two ONNX files in ONNX Runtime, which run in turns.

One thread and CPU time, because other work on the machine hardly changes them.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime

SECONDS = 2.0
"""CPU time that the runs of one file take together."""
RUNS = (9, 61)
"""Fewest and most runs of one file."""


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open a file with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def compare(baseline: Path, path: Path, image: np.ndarray) -> float:
    """Return the median CPU time of the baseline, divided by that of the file."""
    sessions = [open_session(baseline), open_session(path)]
    times: list[list[float]] = [[], []]
    for one in sessions:
        run(one, image)
    count = int(min(max(SECONDS / run(sessions[1], image), RUNS[0]), RUNS[1]))
    for number in range(count):
        for index in (0, 1) if number % 2 else (1, 0):
            times[index].append(run(sessions[index], image))
    return statistics.median(times[0]) / statistics.median(times[1])


def run(session: onnxruntime.InferenceSession, image: np.ndarray) -> float:
    """Return the CPU seconds of one answer."""
    started = time.process_time()
    session.run(None, {session.get_inputs()[0].name: image})
    return time.process_time() - started
