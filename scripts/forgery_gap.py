"""How far forged files are from honest ones, and which changes are too small to be noticed.

    python scripts/forgery_gap.py

It writes two tables of docs/validation.md. The first has the worst sample of each honest file, and
that of the forgery that comes nearest. The second has the largest change of each kind that was
proven, as a share of the tolerance: PyTorch with the same change is that far off.
"""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from docs_regions import Region
from forgeries import GRAPHS, KINDS, Forger, Forgery, make_forger

REGION = Region("docs/validation.md", "forgeries", "scripts/forgery_gap.py")
SIZES = (1.0, 0.5)
"""Sizes of the forgeries of the first table. Half of the image's part still tells images apart."""
GROSS = ("shrunk", "zeroed head", "ignored image", "exchanged classes", "shifted")
CHANGES = 150
"""Number of changes of each file in the second table."""


def main() -> None:
    accepted: dict[str, float] = defaultdict(float)
    gaps = [
        "| file | limit | honest file | nearest forgery | gap |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in GRAPHS:
        with tempfile.TemporaryDirectory() as folder:
            forger = make_forger(name, Path(folder))
            gaps.append(compare(name, forger))
            for kind, share in list_accepted(forger).items():
                accepted[kind] = max(accepted[kind], share)
    rows = [f"| {kind} | {accepted[kind]:.2f} |" for kind in KINDS]
    lines = [*gaps, "", "| change | largest that was proven |", "| --- | --- |", *rows]
    REGION.write("\n".join(lines))


def compare(name: str, forger: Forger) -> str:
    """Return the row of one file: its own worst sample, and that of the nearest forgery."""
    honest = forger.validate(forger.path)
    limit = honest.against_eager[0].least_snr_db
    forged = {}
    for kind in GROSS:
        for size in SIZES if kind == "shrunk" else SIZES[:1]:
            verdict = forger.validate(forger.forge(Forgery(kind, size, 0)))
            label = f"{kind} by {size:.0%}" if kind == "shrunk" else kind
            forged[label] = verdict.least_snr_db
    nearest = max(forged, key=forged.__getitem__)
    gap = honest.least_snr_db - forged[nearest]
    cells = f"{limit:g} dB | {honest.least_snr_db:.1f} dB | {nearest}: {forged[nearest]:.1f} dB"
    return f"| {name} | {cells} | {gap:.1f} dB |"


def list_accepted(forger: Forger) -> dict[str, float]:
    """Return the largest change of each kind that was proven, as a share of the tolerance."""
    random, accepted = np.random.RandomState(0), defaultdict(float)
    for _ in range(CHANGES):
        kind = KINDS[random.randint(len(KINDS))]
        forgery = Forgery(kind, 10 ** random.uniform(-6, 0), random.randint(1000))
        if forger.validate(forger.forge(forgery)).accepted:
            accepted[kind] = max(accepted[kind], forger.measure_excess(forgery))
    return accepted


if __name__ == "__main__":
    main()
