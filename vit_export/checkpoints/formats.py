"""What a file without PyTorch weights is, by its first bytes or its suffix, and what to do."""

import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vit_export.core.errors import RequestError

HEAD_BYTES = 512
GIVE_CHECKPOINT = "give the checkpoint that the file was built from."
INCOMPLETE = "export another model, or save all tensors of this one if the file has only some."
"""The fix where a tensor of the family is not there: the model is another, or was saved in part."""
GIVE_PYTORCH = "give the PyTorch weights of the same model, as safetensors or from torch.save"


@dataclass(frozen=True)
class Format:
    """A kind of file that is no checkpoint of PyTorch."""

    name: str
    fix: str
    marks: tuple[bytes, ...] = ()
    """Bytes that such a file has at `offset`."""
    offset: int = 0
    suffixes: tuple[str, ...] = ()
    """Suffixes of such files; they decide where the first bytes don't."""


EXPORTED = GIVE_CHECKPOINT
UNPACK = "unpack it, and give the file inside."
FOREIGN = (
    Format(
        "a pointer of Git LFS, not the weights themselves",
        "fetch them: git lfs pull.",
        (b"version https://git-lfs",),
    ),
    Format(
        "a web page, not weights: the download answered with a text",
        "download the file again, logged in where the site requires it.",
        (b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML"),
    ),
    Format(
        "weights of Keras or TensorFlow (HDF5)",
        f"{GIVE_PYTORCH}.",
        (b"\x89HDF\r\n\x1a\n",),
        suffixes=(".h5", ".hdf5", ".keras"),
    ),
    Format("an array of NumPy", f"{GIVE_PYTORCH}.", (b"\x93NUMPY",), suffixes=(".npy",)),
    Format("weights of Flax (msgpack)", f"{GIVE_PYTORCH}.", suffixes=(".msgpack",)),
    Format(
        "a TensorFlow checkpoint or graph",
        f"{GIVE_PYTORCH}.",
        suffixes=(".pb", ".index", ".meta", ".data-00000-of-00001"),
    ),
    Format("a GGUF file, as llama.cpp reads it", f"{GIVE_PYTORCH}.", (b"GGUF",)),
    Format("a LiteRT (TFLite) program", EXPORTED, (b"TFL3",), 4, (".tflite",)),
    Format("an ExecuTorch program", EXPORTED, (b"ET12", b"ET13"), 4, (".pte",)),
    Format("a TensorRT engine", EXPORTED, (b"ftrt",), suffixes=(".engine", ".plan", ".trt")),
    Format("an ONNX graph", EXPORTED, suffixes=(".onnx",)),
    Format("an OpenVINO graph", EXPORTED, suffixes=(".xml",)),
    Format("a Core ML model", EXPORTED, suffixes=(".mlmodel", ".mlpackage", ".mlmodelc")),
    Format("compressed", UNPACK, (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"(\xb5/\xfd")),
    Format("a tar archive", UNPACK, (b"ustar",), 257),
)
ARCHIVES = {
    ".npy": (
        "an archive of NumPy arrays (npz), as JAX writes weights",
        f"{GIVE_PYTORCH}.",
    ),
    "model.weights.h5": ("weights of Keras", f"{GIVE_PYTORCH}."),
    "serialized_exported_program.json": ("a program of torch.export (pt2)", EXPORTED),
    "archive_format": ("a program of torch.export (pt2)", EXPORTED),
    "MAR-INF/MANIFEST.json": ("a TorchServe archive", UNPACK),
}
"""Ends of names of records in a zip archive to what the archive is, and what to do."""
SAFETENSORS_HEAD = 8
"""Bytes before the header of a safetensors file, which is JSON."""


def check_format(path: Path) -> None:
    """Raise RequestError if the file is of a kind that holds no weights of PyTorch."""
    head = read_head(path)
    for one in FOREIGN:
        begins = head[one.offset :].startswith(one.marks) if one.marks else False
        if begins or (path.name.lower().endswith(one.suffixes) if one.suffixes else False):
            raise RequestError(f"{path} is {one.name}.", one.fix)
    if not head:
        raise RequestError(f"{path} is empty.", "copy it again.")


def check_records(path: Path) -> None:
    """Raise RequestError if a zip archive is of a kind that holds no weights of PyTorch."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # noqa: BLE001 damaged bytes, of which the reader of pickles says more
        return
    for end, (name, fix) in ARCHIVES.items():
        if any(one.endswith(end) for one in names):
            raise RequestError(f"{path} is {name}.", fix)
    if not _is_from_torch(names):
        first = ", ".join(names[:3]) or "nothing"
        raise RequestError(f"{path} is a zip archive of other files ({first}).", UNPACK)


def _is_from_torch(names: Collection[str]) -> bool:
    return any(name.endswith(("data.pkl", "/version")) for name in names) or not names


def is_safetensors(path: Path) -> bool:
    """Return whether the file begins as safetensors do, whatever its suffix."""
    head = read_head(path)
    length = int.from_bytes(head[:SAFETENSORS_HEAD], "little")
    begins = head[SAFETENSORS_HEAD : SAFETENSORS_HEAD + 1] == b"{"
    return begins and length <= path.stat().st_size - SAFETENSORS_HEAD


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
