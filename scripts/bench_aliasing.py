"""Shows why hidden widths are padded: the rate of a matmul by its inner width, in ONNX Runtime.

    python scripts/bench_aliasing.py

Rows whose starts lie a multiple of 2048 bytes apart share sets of the first-level cache. The widths
run interleaved, so that other work of the machine slows them all equally.
"""

import statistics
import time

import numpy as np
import onnx
import onnxruntime

ROWS, COLUMNS, GEMMS, ROUNDS, CALLS = 197, 768, 6, 9, 3
WIDTHS = (1536, 1552, 3072, 3088, 4096, 4112)
HEAD = '<ir_version: 10, opset_import: ["" : 20]>'
GRAPH = "g (float[{rows}, {width}] x) => ({outputs}) {{{body}}}"


def open_session(width: int) -> onnxruntime.InferenceSession:
    """Open a graph of several matmuls, each with its own weights, which exceed the cache."""
    numbers = range(GEMMS)
    model = onnx.parser.parse_model(
        HEAD
        + GRAPH.format(
            rows=ROWS,
            width=width,
            outputs=", ".join(f"float[{ROWS}, {COLUMNS}] y{i}" for i in numbers),
            body=" ".join(f"y{i} = Gemm <transB = 1> (x, w{i}, b{i})" for i in numbers),
        )
    )
    random = np.random.default_rng(0)
    for i in numbers:
        for name, shape in ((f"w{i}", (COLUMNS, width)), (f"b{i}", (COLUMNS,))):
            array = random.standard_normal(shape, np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return onnxruntime.InferenceSession(model.SerializeToString())


def main() -> None:
    """Print GFLOP/s by width: the median of all calls, and the best."""
    inputs = {width: np.ones((ROWS, width), np.float32) for width in WIDTHS}
    sessions = {width: open_session(width) for width in WIDTHS}
    rates: dict[int, list[float]] = {width: [] for width in WIDTHS}
    for _ in range(ROUNDS):
        for width, session in sessions.items():
            session.run(None, {"x": inputs[width]})
            for _ in range(CALLS):
                started = time.perf_counter()
                session.run(None, {"x": inputs[width]})
                seconds = time.perf_counter() - started
                rates[width].append(2 * ROWS * width * COLUMNS * GEMMS / seconds / 1e9)
    print("width  median GFLOP/s  best")
    for width, gflops_per_s in rates.items():
        print(f"{width:5}  {statistics.median(gflops_per_s):14.0f}  {max(gflops_per_s):4.0f}")


if __name__ == "__main__":
    main()
