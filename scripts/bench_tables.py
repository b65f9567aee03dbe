"""What the benchmark scripts share: Markdown tables, ratios, and the line of conditions."""

import datetime as dt

from vit_export.bench.results import Ratio
from vit_export.bench.run import describe_machine
from vit_export.core.packages import find_versions

PACKAGES = ("torch", "onnxruntime", "openvino", "onnxsim", "torchao")


def describe_conditions() -> str:
    """Return machine, versions and date: what the numbers hold for."""
    machine = describe_machine(None)
    versions = ", ".join(f"{name} {version}" for name, version in find_versions(PACKAGES).items())
    today = dt.datetime.now(tz=dt.UTC).date()
    hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    return f"{hardware}; {versions}; {today}."


def format_ratio(ratio: Ratio) -> str:
    """Return the median with its 95% interval, as in `1.20 (1.16-1.26)`."""
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def format_table(corner: str, columns: dict[str, dict[str, str]]) -> list[str]:
    """Return the lines of a table from its cells by column and row; a missing cell is a dash."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [
        f"| {corner} | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
        *(
            f"| {name} | {' | '.join(column.get(name, '-') for column in columns.values())} |"
            for name in names
        ),
    ]
