"""What the library's judgement of a checkpoint costs: CPU time and peak memory of reading it.

    python scripts/reading_costs.py            # ViT-B and ViT-L: two minutes

Each model of `transformers` is saved with random weights. Then one process reads it without the
check, and another one with it (`--check off`, `--check require`), three times in turns; the medians
count. Memory is the largest resident set of the process.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODELS = {
    "ViT-B/16": {},
    "ViT-L/16": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}
"""Changes to the default configuration of `ViTConfig`, by the name of the row."""
REPEATS = 3
SAVE = """
import json, sys, transformers
transformers.ViTForImageClassification(
    transformers.ViTConfig(**json.loads(sys.argv[2]))
).save_pretrained(sys.argv[1])
"""
READ = """
import pathlib, resource, sys
from vit_export.checkpoints.load import load
from vit_export.validation.reading import check_reading
load(weights=pathlib.Path(sys.argv[1]), check=sys.argv[2], check_reading=check_reading)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)
"""


def main() -> None:
    """Print one row per model, as Markdown."""
    print("| model | weights MB | CPU s | with check | peak MB | with check |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, changes in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            _run(SAVE, folder, json.dumps(changes))
            megabytes = Path(folder, "model.safetensors").stat().st_size / 1e6
            rows = [
                [measure(folder, check) for check in ("off", "require")] for _ in range(REPEATS)
            ]
        seconds, peaks = (
            [statistics.median(row[check][value] for row in rows) for check in (0, 1)]
            for value in (0, 1)
        )
        figures = f"{seconds[0]:.1f} | {seconds[1]:.1f} | {peaks[0]:.0f} | {peaks[1]:.0f}"
        print(f"| {name} | {megabytes:.0f} | {figures} |", flush=True)


def measure(folder: str, check: str) -> tuple[float, float]:
    """Return the CPU seconds and the peak megabytes of a process that reads a folder."""
    seconds, peak = _run(READ, folder, check).split()
    return float(seconds), float(peak)


def _run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()[-1] if done.stdout else ""


if __name__ == "__main__":
    main()
