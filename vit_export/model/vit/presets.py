"""Presets: the models that ship with the package, and the user's own TOML files.

A preset is `models/NAME.toml`, or `models/NAME/NAME.toml` if weights and labels lie beside it.
"""

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vit_export.core.errors import RequestError, did_you_mean
from vit_export.data.label_file import read_labels
from vit_export.data.preprocessing import Preprocessing
from vit_export.model.vit.spec import VitSpec
from vit_export.model.vit.spec_checks import check_divides

DEFAULT = "einops_vit_base_patch16_224"
MAX_BYTES = 1 << 20
"""Largest TOML file: the shipped ones have 0.5 kB."""
MAX_DOTS = 1000
"""Most dots in a line of a TOML file: time and memory grow with the square of a key's parts."""
KEYS = {"source", "weights", "labels", "vit", "preprocessing"}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named architecture with its preprocessing, labels and weights."""

    name: str
    source: str
    """The paper and table, or the script, that the sizes come from."""
    spec: VitSpec
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]
    """Names of the classes in order; empty if they have none."""
    weights: Path | None
    """A safetensors file; None if no trained weights ship."""
    files: tuple[Path, ...] = ()
    """The files that it was read from: the TOML file, its weights and its labels."""
    is_shipped: bool = True
    """Whether it comes with the package, and not from a user's TOML file."""

    @property
    def shipped_name(self) -> str:
        """The name by which every installation finds it; empty for a user's own file."""
        return self.name if self.is_shipped else ""


@cache
def _find_presets() -> dict[str, Path]:
    # A wheel is installed as files, so the resource is a path; zipped packages are not supported.
    root = Path(str(files("vit_export.model.zoo")))
    paths = [*root.glob("*.toml"), *root.glob("*/*.toml")]
    return {path.stem: path for path in sorted(paths)}


def list_presets() -> list[str]:
    """Return the names that `--model` knows, sorted."""
    return list(_find_presets())


def load_preset(name: str) -> Preset:
    """Return the preset `name`, or the one in a file if `name` is the path of a .toml file.

    Raises:
        RequestError: the preset or the file does not exist, or the file is invalid.
    """
    if not name.endswith(".toml"):
        if name not in _find_presets():
            fix = did_you_mean(name, _find_presets()) + " Or give the path of a .toml file."
            raise RequestError(f"There is no model {name!r}.", fix)
        return _read(_find_presets()[name])
    return replace(_read(Path(name)), is_shipped=False)


def _read(path: Path) -> Preset:
    if path.exists() and (not path.is_file() or path.stat().st_size > MAX_BYTES):
        message = f"{path} is no file of at most {MAX_BYTES:,} bytes."
        raise RequestError(message, "give a TOML file, see models/*.toml.")
    try:
        table = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.", "check the path.") from None
    except (ValueError, RecursionError) as error:  # of syntax, of UTF-8, of endless digits
        raise RequestError(f"{path} is not TOML: {error}.", "see models/*.toml.") from None
    for key in table:
        if key not in KEYS:
            raise RequestError(f"{path}: unknown key {key!r}.", did_you_mean(key, KEYS))
    if not isinstance(table.get("vit"), dict):
        raise RequestError(f"{path} has no [vit] table.", "see models/*.toml for examples.")
    spec = _parse_spec(table["vit"], path)
    weights, labels = (_find_file(path, table.get(key)) for key in ("weights", "labels"))
    return Preset(
        name=path.stem,
        source=str(table.get("source", path.name)),
        spec=spec,
        preprocessing=_parse_preprocessing(table.get("preprocessing"), spec, path),
        labels=read_labels(labels, spec.classes or 0) if labels else (),
        weights=weights,
        files=tuple(file for file in (path, weights, labels) if file),
    )


def _parse(text: str) -> dict[str, Any]:
    """Return the table in a TOML file, unless a key has more parts than people write."""
    if any(line.count(".") > MAX_DOTS for line in text.splitlines()):
        raise ValueError(f"a line has more than {MAX_DOTS} dots")
    return tomllib.loads(text)


def _parse_spec(values: dict[str, Any], path: Path) -> VitSpec:
    spec = VitSpec.from_mapping(values, str(path))
    try:
        check_divides(spec)
    except RequestError as error:
        raise RequestError(f"{path}: {error.message}", error.fix) from None
    return spec


def _parse_preprocessing(values: Any, spec: VitSpec, path: Path) -> Preprocessing | None:
    if values is None:
        return None
    if not isinstance(values, dict):
        raise RequestError(
            f"{path}: preprocessing is {values!r}.", "write a [preprocessing] table."
        )
    preprocessing = Preprocessing.from_mapping({"crop": spec.image_size, **values}, str(path))
    crop, channels = preprocessing.crop, len(preprocessing.mean)
    if crop != spec.image_size or channels != spec.channels:
        raise RequestError(
            f"{path}: the preprocessing ends in {channels} channels of {crop}, "
            f"the model takes {spec.channels} of {spec.image_size}.",
            "make the two agree.",
        )
    return preprocessing


def _find_file(path: Path, name: Any) -> Path | None:
    if name is None:
        return None
    if not isinstance(name, str):
        raise RequestError(f"{path} names the file {name!r}.", "give file names as text.")
    file = path.parent / name
    if not file.is_file():
        raise RequestError(f"{path} names {name!r}, which is not there.", f"put it at {file}.")
    return file
