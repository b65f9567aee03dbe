"""Speed by the device's clock: the files beside eager PyTorch, torch.compile and the card's limit.

All candidates of a batch size take turns. Images are on the device, and answers stay there.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gpu_parts.context import CPU, Context
from gpu_parts.folder import Model
from gpu_parts.results import Outcome, Row, describe
from gpu_parts.sessions import DeviceSession, be_exact
from vit_export.artifact.manifest import Manifest
from vit_export.model.vit.flops import count_flops
from vit_export.model.vit.vit import Vit

BATCHES = (1, 8, 16)
LARGEST_FIRST = ("vit-base", "einops-base", "vit-tiny", "fashion")
"""The order of the models: the largest one says most."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
ROUNDS, CALLS = 7, 20
WARM_UP = 5
ENOUGH_S = 160
"""No batch is begun after that many seconds; compilers take most of them."""
GIGA = 1e9
FILE = "the file"
Run = Callable[[], object]
Key = tuple[str, str]
"""Name and arithmetic of a candidate."""


def measure_speed(context: Context) -> Iterator[Row]:
    """Yield the milliseconds of every candidate, model by model and batch by batch."""
    be_exact()
    started = time.monotonic()
    if context.is_dry:
        yield Row(case="torch.compile", outcome="skipped", facts="needs CUDA: a dry run saves time")
        yield Row(
            case="the GPU's clock", outcome="skipped", facts="needs CUDA: this machine's here"
        )
    models = [one for one in context.contents.models if not one.preprocesses]
    models.sort(key=lambda one: (*LARGEST_FIRST, one.name).index(one.name))
    for model in models:
        for batch in BATCHES[:1] if context.is_dry else BATCHES:
            case = f"{model.name} at batch {batch}"
            if time.monotonic() - started > ENOUGH_S:
                yield Row(case=case, outcome="skipped", facts=f"{ENOUGH_S} s of this part are over")
                continue
            try:
                yield from _measure_batch(context, model, batch)
            except Exception as error:  # noqa: BLE001 memory, for example: the next one may run
                yield Row(case=case, outcome="FAILED", facts=describe(error))


def _measure_batch(context: Context, model: Model, batch: int) -> Iterator[Row]:
    path = context.find_file(model)
    if path is None:
        yield Row(case=f"{model.name} at batch {batch}", outcome="skipped", facts="no file")
        return
    manifest = Manifest.from_json(context.read_manifest_json(model), model.manifest)
    spec = manifest.require_spec()
    candidates = _make_candidates(context, model, manifest, batch)
    rates = _find_rates(context, set(spec.gemms(batch)))
    for (name, _), reason in _drop_broken(candidates):
        outcome: Outcome = "FAILED" if name.startswith(FILE) else "recorded"
        yield Row(case=f"{model.name} at batch {batch}: {name}", outcome=outcome, facts=reason)
    times = _take_turns(candidates, context)
    gflop = batch * count_flops(spec) / GIGA
    for (name, dtype), rounds in times.items():
        ms = statistics.median(rounds)
        share = 1000 * gflop / rates[dtype] / ms
        facts = f"{ms:.3f} ms, {1000 * batch / ms:,.0f} images/s, {share:.0%} of the card's limit"
        facts += f" ({rates[dtype] / 1000:.3g} TFLOP/s in matmuls of these shapes in {dtype})"
        numbers = {"p50_ms": ms, "limit_share": share, "limit_gflops_per_s": rates[dtype]}
        case = f"{model.name} at batch {batch}: {name}"
        yield Row(case=case, outcome="recorded", facts=facts, numbers=numbers)


def _find_rates(context: Context, gemms: set[tuple[int, int, int]]) -> dict[str, float]:
    """Return the best GFLOP/s of the card at the shapes of a model, by arithmetic."""
    rates = dict.fromkeys(DTYPES, 0.0)
    for name, dtype in DTYPES.items():
        for gemm in gemms:
            run = _make_matmuls(context, gemm, dtype)
            fastest = min(time_ms(run, context.device) for _ in range(3))
            rates[name] = max(rates[name], 2 * math.prod(gemm) / GIGA * 1000 / fastest)
    return rates


def _make_candidates(
    context: Context, model: Model, manifest: Manifest, batch: int
) -> dict[Key, Run]:
    """Return what is timed, by its name and its arithmetic."""
    path = context.find_file(model)
    torch.manual_seed(0)
    images = torch.randn(batch, *manifest.signature.image_shape).numpy()
    runs: dict[Key, Run] = {}
    for arithmetic, dtype in (("fp32", "fp32"), ("autocast", "fp16"), ("half", "fp16")):
        session = DeviceSession(path, context.device, arithmetic) if path else None
        if session is not None:
            runs[f"{FILE}, {arithmetic}", dtype] = _bind(session.answer, session.place(images))
    placed = torch.from_numpy(images).to(context.device)
    for name, dtype in DTYPES.items():
        eager = Vit(manifest.require_spec()).eval().to(context.device, dtype)
        runs[f"eager, {name}", name] = _bind(_without_gradients(eager), placed.to(dtype))
        if not context.is_dry:
            compiled = torch.compile(eager, dynamic=False)
            runs[f"compile, {name}", name] = _bind(_without_gradients(compiled), placed.to(dtype))
    return runs


def _bind(function: Callable[[torch.Tensor], object], images: torch.Tensor) -> Run:
    return lambda: function(images)


def _without_gradients(module: Any) -> Callable[[torch.Tensor], object]:
    def run(images: torch.Tensor) -> object:
        with torch.inference_mode():
            return module(images)

    return run


def _make_matmuls(context: Context, gemm: tuple[int, int, int], dtype: torch.dtype) -> Run:
    """Return a function that multiplies random matrices of one shape of the model."""
    rows, inner, columns = gemm
    left = torch.randn(rows, inner, device=context.device).to(dtype)
    right = torch.randn(columns, inner, device=context.device).to(dtype)
    return lambda: torch.nn.functional.linear(left, right)


def _drop_broken(candidates: dict[Key, Run]) -> Iterator[tuple[Key, str]]:
    """Warm every candidate up, and take out those that do not run; yield why."""
    for key, run in list(candidates.items()):
        try:
            for _ in range(WARM_UP):
                run()
        except Exception as error:  # noqa: BLE001 a compiler that is missing, memory: any reason
            del candidates[key]
            yield key, describe(error)


def _take_turns(candidates: dict[Key, Run], context: Context) -> dict[Key, list[float]]:
    """Return each candidate's rounds in milliseconds."""
    times: dict[Key, list[float]] = {key: [] for key in candidates}
    for _ in range(1 if context.is_dry else ROUNDS):
        for key, run in candidates.items():
            times[key].append(time_ms(run, context.device))
    return times


def time_ms(run: Run, device: str) -> float:
    """Return the milliseconds of one call, the mean of a burst by the device's own clock."""
    run()
    if device == CPU:
        started = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - started)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(CALLS):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / CALLS
