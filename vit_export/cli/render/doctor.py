"""What works on this machine."""

from collections.abc import Iterator, Sequence

from vit_export.api.doctor import Health
from vit_export.cli.render.blocks import Block, Row, Span, Table, row


def describe_health(backends: Sequence[Health]) -> Iterator[Block]:
    """Yield one row per backend: whether it works here, with which versions, what to install."""
    yield Table(("target", "works", "versions", "note"), tuple(map(_row, backends)))


def _row(health: Health) -> Row:
    works = Span("yes", "green") if health.works else Span("no", "red")
    versions = ", ".join(f"{name} {version}" for name, version in health.versions.items())
    note = health.note if health.works else f"Fix: {health.fix}"
    return row(health.target, works, versions, note)
