"""The fields of a manifest, read from JSON that anybody may have written."""

from collections.abc import Mapping
from typing import Any

from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import PRECISIONS
from vit_export.artifact.records import BuildSettings, CalibrationInfo, Fp16Range, GraphInfo
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.core.errors import RequestError, did_you_mean
from vit_export.core.from_json import read_record, read_value
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.fusions import ExpectedFusions
from vit_export.model.signature import ProblemType, Signature
from vit_export.model.vit.spec import VitSpec


def read_fields(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Every field of a manifest, checked."""
    types = {
        "target": str,
        "model": str,
        "preset": str,
        "precision": str,
        "weights_sha256": str,
        "weights_from": str,
        "overrides": Mapping[str, Any],
        "labels": tuple[str, ...],
        "versions": Mapping[str, str],
        "layers": Mapping[str, str],
        "layout": int,
        "problem_type": ProblemType,
        "assumed": Mapping[str, Any],
        "reading": str,
    }
    optional: dict[str, Any] = {"overrides": {}, "layers": {}, "preset": "", "reading": ""}
    optional |= {"problem_type": "single_label", "assumed": {}}
    plain = {
        name: read_value(kind, values.get(name, optional.get(name)), f"{where}{name}")
        for name, kind in types.items()
    }
    if plain["precision"] not in PRECISIONS:
        fix = did_you_mean(plain["precision"], PRECISIONS)
        raise RequestError(f"{where}precision is {plain['precision']!r}.", fix)
    return plain | _read_parts(values, where)


def _read_parts(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields that are records of their own."""

    def part(name: str) -> Any:
        value = values.get(name)
        return read_value(Mapping[str, Any], {} if value is None else value, f"{where}{name}")

    spec, steps = part("spec"), part("preprocessing")
    graph, fp16_range, calibration = part("graph"), part("reach"), part("calibration")
    fusions = part("fusions")
    return {
        "signature": read_record(Signature, values.get("signature"), f"{where}signature"),
        "spec": VitSpec.from_mapping(spec, f"{where}spec") if spec else None,
        "batch": Batch.from_json(values.get("batch"), where),
        "preprocessing": Preprocessing.from_mapping(steps, where) if steps else None,
        "settings": BuildSettings.from_mapping(part("settings"), f"{where}settings"),
        "graph": GraphInfo.from_mapping(graph, f"{where}graph") if graph else None,
        "fusions": read_record(ExpectedFusions, fusions, f"{where}fusions") if fusions else None,
        "fp16_range": read_record(Fp16Range, fp16_range, f"{where}reach") if fp16_range else None,
        "calibration": (
            read_record(CalibrationInfo, calibration, f"{where}calibration")
            if calibration
            else None
        ),
        "engine": part("engine"),
        "engine_run": read_value(bool | None, values.get("engine_run"), f"{where}engine_run"),
        "tolerance": read_record(Tolerance, part("tolerance"), f"{where}tolerance"),
        "reference": Reference.from_mapping(part("reference"), f"{where}reference"),
    }
