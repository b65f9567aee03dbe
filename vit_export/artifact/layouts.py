"""Manifests of earlier layouts, brought to the present one.

Layout 2 adds `signature`. Layout 3 adds `preset`, and measures the SNR of a budget against what
depends on the image. Every other key keeps its name and its meaning.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vit_export.core.errors import RequestError
from vit_export.core.from_json import read_value
from vit_export.model.vit.spec import VitSpec

LAYOUT = 3
"""The present layout; it rises when a field changes its meaning."""


def upgrade(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The manifest in the present layout.

    Raises:
        RequestError: the layout is newer than this version, or is no layout number.
    """
    layout = read_value(int, values.get("layout"), f"{where}: layout")
    if layout > LAYOUT:
        message = f"{where} was written by a newer vit-export (layout {layout})."
        raise RequestError(message, "upgrade vit-export.")
    if layout < 1:
        raise RequestError(f"{where}: layout is {layout}.", "export the model again.")
    upgraded = _from_layout_1(values, where) if layout == 1 else dict(values)
    return _from_layout_2(upgraded) if layout < LAYOUT else upgraded


def _from_layout_1(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A layout 1 manifest always has the spec of a Vision Transformer, which has a signature."""
    spec = VitSpec.from_mapping(read_value(dict, values.get("spec"), f"{where}: spec"), where)
    return {**values, "signature": asdict(spec.signature)}


def _from_layout_2(values: Mapping[str, Any]) -> dict[str, Any]:
    """The budget of a layout 2 file is of another definition, so its claim is dropped."""
    tolerance = values.get("tolerance")
    if isinstance(tolerance, Mapping) and values.get("precision") == "auto":
        tolerance = {**tolerance, "least_snr_db": None, "alone_snr_db": None}
    return {**values, "layout": LAYOUT, "tolerance": tolerance}
