"""The roofline of this machine: the best rate of matmuls at the shapes of a model.

A bench measures the rate in the same run as the candidates, in the runtime of each of them, in fp32
and, where a candidate computes in int8, in int8 too. The best rate of each arithmetic counts.

No runtime can answer without these matmuls, so a row above the roofline is an error of the bench.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_export.bench.candidates import GPU, Candidate
from vit_export.bench.gemm import GEMMS_PER_FILE, Gemm, write_gemms

GIGA = 1e9
MAX_SHARE = 1.02
"""Largest share of the roofline that a row may reach: the clock and the FLOP count are rounded."""
GEMM_KINDS = {
    "fp32": {
        "artifact": "onnxruntime",
        "onnxruntime": "onnxruntime",
        "openvino": "openvino",
        "eager": "torch-gemm",
        "compile": "torch-gemm",
    },
    "int8": {
        "artifact": "int8-gemm",
        "onnxruntime": "int8-gemm",
        "torchao": "torch-int8-gemm",
    },
}
"""The kind that runs only matmuls in the same runtime, by arithmetic and candidate kind."""


@dataclass(frozen=True)
class GemmCandidate:
    """A candidate that runs the matmuls of one shape and nothing else."""

    candidate: Candidate
    shape: tuple[int, int]
    """Shape of its input: (rows, inner)."""
    gflop: float
    """Arithmetic of one call, in GFLOP."""


def choose_gemm_kinds(candidates: Iterable[Candidate]) -> list[tuple[str, str]]:
    """Return the arithmetics and kinds in which to measure matmuls beside CPU `candidates`.

    ONNX Runtime comes first. It always runs fp32, because an int8 row has fp32 matmuls too.
    """
    present = list(candidates)
    arithmetics = {"fp32", *(one.arithmetic for one in present)}
    pairs = [(name, "onnxruntime") for name in GEMM_KINDS if name in arithmetics]
    pairs += [(one.arithmetic, one.kind) for one in present if one.arithmetic != GPU]
    return list(dict.fromkeys((name, GEMM_KINDS[name][kind]) for name, kind in pairs))


def write_gemm_candidates(
    gemms: Iterable[Gemm], kinds: Sequence[tuple[str, str]], folder: Path, threads: int | None
) -> list[GemmCandidate]:
    """Write the files of `gemms` into `folder`, and return a candidate per distinct shape and kind.

    Args:
        gemms: sizes of the matmuls of a model.
        kinds: arithmetic and kind of each runtime, as `choose_gemm_kinds` returns them.
        folder: where the ONNX files go.
        threads: number of threads; None leaves each runtime its default.
    """
    candidates = []
    for gemm in dict.fromkeys(gemms):
        rows, inner, columns = gemm
        gflop = 2 * rows * inner * columns * GEMMS_PER_FILE / GIGA
        for arithmetic, kind in kinds:
            name = f"gemm_{arithmetic}_{'x'.join(map(str, gemm))}"
            path = folder / f"{name}.onnx"
            if not path.exists():
                write_gemms(path, gemm, arithmetic)
            candidate = Candidate(
                name=name, kind=kind, arithmetic=arithmetic, path=str(path), threads=threads
            )
            candidates.append(GemmCandidate(candidate, (rows, inner), gflop))
    return candidates


def find_best_rates(gemms: Sequence[GemmCandidate], min_ms: Sequence[float]) -> dict[str, float]:
    """Return the best GFLOP/s by arithmetic, from the least milliseconds of each candidate.

    The rate of int8 is never below that of fp32: an int8 runtime may compute in fp32 instead.
    """
    rates: dict[str, float] = {}
    for gemm, ms in zip(gemms, min_ms, strict=True):
        name = gemm.candidate.arithmetic
        rates[name] = max(rates.get(name, 0), 1000 * gemm.gflop / ms)
    if "int8" in rates:
        rates["int8"] = max(rates.values())
    return rates
