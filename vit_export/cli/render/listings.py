"""What is printed in lists: models, targets, predictions, contestants of a bench."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from vit_export.api.doctor import Health
from vit_export.api.predict import Prediction
from vit_export.bench.results import Bench
from vit_export.cli.render.tables import table_of
from vit_export.codegen.generate import Generated
from vit_export.model.vit.presets import Preset


def print_models(console: Console, presets: Sequence[tuple[Preset, int]]) -> None:
    """One row per preset."""
    table = table_of("model", "parameters", "image", "classes", "weights")
    for preset, parameters in presets:
        height, width = preset.spec.image_size
        classes = str(preset.spec.classes or "features")
        weights = "shipped" if preset.weights else "-"
        size = f"{height}x{width}x{preset.spec.channels}"
        table.add_row(preset.name, f"{parameters:,}", size, classes, weights)
    console.print(table)


def print_health(console: Console, found: Sequence[Health]) -> None:
    """One row per target: does it work here, with which versions, what to install."""
    table = table_of("target", "works", "versions", "note")
    for health in found:
        works = "[green]yes[/green]" if health.works else "[red]no[/red]"
        versions = ", ".join(f"{name} {version}" for name, version in health.versions.items())
        note = health.note if health.works else f"Fix: {health.fix}"
        table.add_row(health.target, works, escape(versions), escape(note))
    console.print(table)


def print_generated(console: Console, made: Generated) -> None:
    """Where the project is, and the commands that build and test it."""
    where = "in the model file" if made.preprocess == "graph" else "in C++"
    told = f"{made.path}: images are resized {where}; {made.images} golden ones."
    console.print(escape(told), soft_wrap=True)
    for command in made.commands:
        console.print(escape(command), soft_wrap=True, highlight=False)


def print_predictions(console: Console, predictions: Sequence[Prediction]) -> None:
    """One line per image and class: name and probability."""
    table = table_of("image", "class", "probability")
    for found in predictions:
        best = zip(found.classes, found.probabilities, strict=True)
        for i, (name, probability) in enumerate(best):
            table.add_row(escape(found.image) if i == 0 else "", escape(name), f"{probability:.1%}")
    console.print(table)


def print_bench(console: Console, bench: Bench) -> None:
    """A table per batch size: times, how the others compare with the first, the machine's limit."""
    for batch, rates in bench.gflops_per_s.items():
        table = table_of(
            *("contestant", "p50 ms", "p90", "min", "images/s", "takes x first", "of limit"),
            *("load ms", "peak MB", "file MB", "worst SNR dB"),
        )
        for row in (row for row in bench.rows if row.batch == batch):
            against = row.against_first
            size = f"{row.size_bytes / 1e6:.1f}" if row.size_bytes else "-"
            share = f"{row.limit_share:.0%}" if row.limit_share is not None else "-"
            snr = f"{row.worst_snr_db:.1f}" if row.worst_snr_db is not None else "-"
            table.add_row(
                *(escape(row.name), f"{row.p50_ms:.2f}", f"{row.p90_ms:.2f}", f"{row.min_ms:.2f}"),
                *(f"{row.images_per_s:.1f}", f"{against.median:.2f}"),
                *(share, f"{row.load_ms:.0f}", f"{row.peak_bytes / 1e6:.0f}"),
                *(size, snr),
            )
        limits = ", ".join(
            f"{limit_ms:.2f} ms in {name} at {rates[name]:.0f} GFLOP/s"
            for name, limit_ms in bench.limits_ms(batch).items()
        )
        console.print(f"batch {batch}; this machine's limit: {limits}", highlight=False)
        console.print(table)
