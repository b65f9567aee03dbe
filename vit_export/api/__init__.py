"""The Python twin of every command.

Every target has a function of its name too: `vit_export.onnx(model, "vit.onnx", opset=18)` is
`build("onnx", model, "vit.onnx", opset=18)`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vit_export.api.build import build
from vit_export.api.doctor import Health, examine
from vit_export.api.inspect import Inspection, inspect_path
from vit_export.api.predict import predict
from vit_export.api.validate import validate
from vit_export.bench.plots import write_plot
from vit_export.bench.results import Bench
from vit_export.bench.run import run_bench
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.codegen.generate import cpp
from vit_export.core.errors import RequestError
from vit_export.core.figures import check_picture
from vit_export.core.progress import Progress, silent
from vit_export.model.vit.presets import DEFAULT, Preset, load_preset, preset_names
from vit_export.model.vit.summary import Summary, count_parameters, summarize
from vit_export.validation.localize import Localization, MismatchError, find_first_mismatch
from vit_export.validation.plots import plot_localization

__all__ = [
    "bench",
    "build",
    "cpp",
    "doctor",
    "inspect",
    "locate",
    "models",
    "predict",
    "summary",
    "validate",
]


def locate(
    artifact: str | Path,
    *,
    weights: str | Path | None = None,
    plot: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Localization:
    """Every module of an artifact held against eager PyTorch: where it stops being the model.

    Args:
        artifact: a file that vit-export wrote.
        weights: the checkpoint it came from; not needed for shipped and for random weights.
        plot: a picture of the error as it grows through the modules.
        threads: of the runtime.
        progress: opened around every stage.

    Raises:
        RequestError: no artifact of ours, or not the weights it was made of.
        MissingError: its runtime is not installed, or no sample can be made again here.
        MismatchError: a module leaves tolerance; the error names the first and holds them all.
    """
    if plot is not None:
        check_picture(Path(plot))
    found = find_first_mismatch(
        Path(artifact), None if weights is None else Path(weights), threads, progress
    )
    if plot is not None:
        plot_localization(Path(plot), found)
    if found.first is not None:
        raise MismatchError(found, found.first)
    return found


def summary(
    model: str | None = None,
    *,
    weights: str | Path | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    image_size: str | None = None,
    classes: int | None = None,
) -> Summary:
    """The layer table of a preset or a checkpoint: layer, output shape, parameters.

    Of a preset no weights are made; `weights` and what completes a checkpoint are as in `build`.
    """
    hints = CheckpointHints(
        heads=heads, activation=activation, pool=pool, norm_eps=norm_eps, trained_size=trained_size
    )
    overrides = ModelOverrides(image_size=image_size, classes=classes)
    if weights is not None or hints.spec_fields():
        path = None if weights is None else Path(weights)
        loaded = load(model, weights=path, hints=hints, overrides=overrides)
        return summarize(loaded.name, loaded.vit.spec)
    preset = load_preset(model or DEFAULT)
    spec = replace(preset.spec, **overrides.spec_changes(preset.spec))
    return summarize(preset.name, spec)


def models() -> list[tuple[Preset, int]]:
    """Every preset that ships, with its number of parameters."""
    presets = [load_preset(name) for name in preset_names()]
    return [(preset, count_parameters(preset.spec)) for preset in presets]


def inspect(
    path: str | Path,
    *,
    model: str | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
) -> Inspection:
    """What a checkpoint or an artifact is; nothing is exported.

    Of a checkpoint that does not tell everything, the options complete the spec, as in `build`.

    Raises:
        RequestError: neither a checkpoint of a known family nor an artifact of ours.
    """
    hints = CheckpointHints(
        heads=heads, activation=activation, pool=pool, norm_eps=norm_eps, trained_size=trained_size
    )
    return inspect_path(Path(path), model, hints.spec_fields())


def bench(
    artifacts: Sequence[str | Path],
    *,
    batch: str | int = "1",
    weights: str | Path | None = None,
    threads: int | None = None,
    against: str = "",
    rounds: int = 7,
    plot: str | Path | None = None,
    progress: Progress = silent,
) -> Bench:
    """How fast `artifacts` are, interleaved with their peers and the machine's limit.

    Args:
        artifacts: files that vit-export wrote; the first is what the others are held against.
        batch: sizes, as in "1,8".
        weights: the checkpoint of the first, for its peers; without it they have its weights where
            they ship or are random, and else random ones and no accuracy.
        threads: of every contestant; None leaves each its own default.
        against: peers, as in "eager,openvino" (`speed.peers.PEERS`).
        rounds: turns of every contestant, 5 or more.
        plot: a picture of the latencies.
        progress: opened around every stage.

    Raises:
        RequestError: no artifact of ours, an unknown peer, a batch that it does not take.
        MissingError: a peer's package is not installed.
        BuildError: a contestant could not run, or ran faster than the machine can.
    """
    if plot is not None:
        check_picture(Path(plot))
    found = run_bench(
        [Path(one) for one in artifacts],
        batches=_sizes(str(batch)),
        against=[name for name in against.split(",") if name],
        weights=None if weights is None else Path(weights),
        threads=threads,
        rounds=rounds,
        progress=progress,
    )
    if plot is not None:
        write_plot(Path(plot), found)
    return found


def _sizes(text: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d{0,4}(,[1-9]\d{0,4})*", text):
        raise RequestError(f"{text!r} are no batch sizes.", "give numbers: --batch 1,8")
    return [int(size) for size in dict.fromkeys(text.split(","))]


def doctor() -> list[Health]:
    """What each target finds on this machine."""
    return examine()
