"""Measures the speed of artifacts beside baselines and the roofline of this machine."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.bench.plots import write_plot
from vit_export.bench.results import Bench
from vit_export.bench.run import run_bench
from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.rebuild import ModelSource
from vit_export.core.errors import RequestError
from vit_export.core.figures import resolve_figure
from vit_export.core.progress import Progress, silent


def bench(
    artifacts: Sequence[str | Path],
    *,
    batch: str | int = "1",
    weights: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    threads: int | None = None,
    against: str = "",
    rounds: int = 7,
    plot: str | Path | None = None,
    trust: bool = False,
    progress: Progress = silent,
) -> Bench:
    """Measure the latency of artifacts and baselines in milliseconds, in alternating bursts.

    Args:
        artifacts: files that vit-export wrote; ratios are relative to the first.
        batch: batch sizes, such as "1,8".
        weights: the checkpoint of the first artifact, for the baselines. Shipped and random weights
            need none. Without the others the baselines have random weights and no accuracy.
        module: the user's own code that the first artifact was exported from, which runs, for the
            baselines: as in the export.
        arguments: arguments of that class or function by name, as in the export.
        threads: threads of every candidate; None for the default of each runtime.
        against: baselines, such as "eager,openvino"; `vit_export.bench.baselines` lists them.
        rounds: bursts per candidate, 5 or more.
        plot: a figure file to write, of the latencies.
        trust: whether code in the files may run, where their kind of file holds code.
        progress: opened around every stage.

    Raises:
        RequestError: vit-export did not write a file, a baseline is unknown, or a file does not
            take one of the batch sizes.
        MissingError: the package of a baseline is not installed.
        BuildError: a candidate failed, or was faster than this machine can be.
        ProofError: a file answers another shape than its manifest says.
    """
    paths = [Path(artifact) for artifact in artifacts]
    checkpoint = None if weights is None else Path(weights)
    inputs = {f"ARTIFACT {number}": path for number, path in enumerate(paths, 1)}
    figure = resolve_figure(plot, inputs | {"--weights": checkpoint})
    results = run_bench(
        paths,
        batches=_parse_sizes(str(batch)),
        against=[name for name in against.split(",") if name],
        source=ModelSource(
            weights=checkpoint, module=ModuleRequest.choose(module, arguments, None, None)
        ),
        threads=threads,
        rounds=rounds,
        trust=trust,
        progress=progress,
    )
    if figure is not None:
        write_plot(figure, results)
    return results


def _parse_sizes(text: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d{0,4}(,[1-9]\d{0,4})*", text):
        raise RequestError(f"{text!r} are no batch sizes.", "give numbers: --batch 1,8")
    return [int(size) for size in dict.fromkeys(text.split(","))]
