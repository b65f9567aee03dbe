"""Intact files of a tiny model, and ways to damage each kind of them."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import torch
from damage import damage_archive, damage_bytes, damage_json, damage_onnx, damage_toml
from edited_files import edit_manifest, move_weights_out, set_location, set_value
from safetensors.torch import save_file
from support import run
from test_trt_loading import ENGINE

from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.tensorrt.sidecar import hash_file, sidecar_path, write_sidecar
from vit_export.checkpoints.load import load

TINY = """
[vit]
image_size = 16
patch_size = 8
width = 24
depth = 1
heads = 3
classes = 5

[preprocessing]
resize = 16
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""
EXPORTS = {
    "a-plain.onnx": ("onnx",),
    "int8.onnx": ("onnx", "--precision", "int8", "--include", "patches", "--include", "attention"),
    "fp16.onnx": ("onnx", "--precision", "fp16"),
    "pixels.onnx": ("onnx", "--preprocess", "graph", "--head", "top5"),
    "plain.pt": ("torchscript",),
    "pixels.pt": ("torchscript", "--preprocess", "graph", "--head", "softmax"),
}
CHECKPOINTS = ("w.safetensors", "w.pth", "w.bin")


@dataclass(frozen=True, kw_only=True)
class Specimens:
    """Intact files of one model: half of each is structure."""

    onnx: tuple[Path, ...]
    """The first is in fp32, and has the input and output of the model."""
    archives: tuple[Path, ...]
    preset: Path
    weights: tuple[Path, ...]
    """The first holds the weights of all files."""


def write_specimens(folder: Path, names: Iterable[str]) -> None:
    """Write the exports with these names; an int8 file becomes one in precision auto too."""
    preset = folder / "tiny.toml"
    preset.write_text(TINY)
    for name in names:
        command, *options = EXPORTS[name]
        run(command, "--model", preset, "--out", folder / name, "-q", *options)
        if name == "int8.onnx":
            as_auto = set_value("precision", value="auto")
            edit_manifest(folder / name, folder / "z-auto.onnx", as_auto)
    write_checkpoints(preset, folder)


def find_specimens(folder: Path) -> Specimens:
    return Specimens(
        onnx=tuple(sorted(folder.glob("*.onnx"))),
        archives=tuple(sorted(folder.glob("*.pt"))),
        preset=folder / "tiny.toml",
        weights=tuple(folder / name for name in CHECKPOINTS),
    )


def write_checkpoints(preset: Path, folder: Path) -> None:
    state = load(model=preset).vit.state_dict()
    new, zipped, old = (folder / name for name in CHECKPOINTS)
    save_file(state, new)
    torch.save(state, zipped)
    torch.save(state, old, _use_new_zipfile_serialization=False)


def write_damaged(path: Path, out: Path, draw: random.Random) -> Path:
    out = out.with_suffix(path.suffix)
    out.write_bytes(damage_bytes(path.read_bytes(), draw))
    return out


def onnx_bytes(files: Specimens, out: Path, draw: random.Random) -> Path:
    return write_damaged(draw.choice(files.onnx), out, draw)


def onnx_fields(files: Specimens, out: Path, draw: random.Random) -> Path:
    out = out.with_suffix(".onnx")
    damage_onnx(draw.choice(files.onnx), out, draw)
    return out


def external_data(files: Specimens, out: Path, draw: random.Random) -> Path:
    """Damage the graph, its data file, or the data file under the name of its new hash."""
    out = out.with_suffix(".onnx")
    data = move_weights_out(files.onnx[0], out)
    part = draw.choice(("graph", "data", "field", "hash"))
    if part == "graph":
        out.write_bytes(damage_bytes(out.read_bytes(), draw))
    elif part == "field":
        damage_onnx(out, out, draw)
    else:
        data.write_bytes(damage_bytes(data.read_bytes(), draw))
    if part == "hash":
        digest = sha256(data.read_bytes()).hexdigest()
        set_location(out, data.rename(out.with_name(f"{out.name}.{digest[:12]}.data")).name)
    return out


def archive_bytes(files: Specimens, out: Path, draw: random.Random) -> Path:
    return write_damaged(draw.choice(files.archives), out, draw)


def archive_records(files: Specimens, out: Path, draw: random.Random) -> Path:
    out = out.with_suffix(".pt")
    damage_archive(draw.choice(files.archives), out, draw)
    return out


def checkpoint(files: Specimens, out: Path, draw: random.Random) -> Path:
    return write_damaged(draw.choice(files.weights), out, draw)


def engine(files: Specimens, out: Path, draw: random.Random) -> Path:
    """Damage the manifest beside an engine; no machine has the version that it names."""
    out = out.with_suffix(".engine")
    kind = draw.choice(("", "torch"))
    if kind:
        with ZipFile(out, "w") as archive:
            archive.writestr("archive/data.pkl", b".")
    else:
        out.write_bytes(b"\0trt" + bytes(60))
    facts = {"sha256": hash_file(out), "size_bytes": out.stat().st_size, "kind": kind}
    manifest = read_manifest(open_artifact(files.onnx[0]), files.onnx[0])
    record = ENGINE | {"version": "9.9"} | {key: one for key, one in facts.items() if one}
    write_sidecar(out, replace(manifest, target="trt", engine=record))
    sidecar, change = sidecar_path(out), draw.choice((damage_json, damage_json, damage_bytes))
    sidecar.write_bytes(change(sidecar.read_bytes(), draw))
    return out


def preset(files: Specimens, out: Path, draw: random.Random) -> Path:
    out = out.with_suffix(".toml")
    change = draw.choice((damage_toml, damage_toml, damage_toml, damage_bytes))
    out.write_bytes(change(files.preset.read_bytes(), draw))
    return out


Kind = Callable[[Specimens, Path, random.Random], Path]
KINDS: tuple[Kind, ...] = (
    *(onnx_bytes, onnx_fields, external_data, archive_bytes, archive_records),
    *(checkpoint, engine, preset),
)
