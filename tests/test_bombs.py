"""Small files that ask for much: each is refused at once, before it fills the memory."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import expect_error

SIZES = {"image_size": 32, "patch_size": 8, "width": 64, "depth": 1, "heads": 4, "classes": 10}


def toml(**changes: object) -> str:
    lines = [f"{key} = {value}" for key, value in (SIZES | changes).items()]
    return "\n".join(["[vit]", *lines])


HUGE = 10**30
TOMLS = {
    "width 1e9": (toml(width=10**9), "width"),
    "width 4e18": (toml(width=4 * 10**18), "width"),
    "width 1e30": (toml(width=HUGE), "width"),
    "image 1e6": (toml(image_size=10**6), "image_size"),
    "image 8e29": (toml(image_size=8 * 10**29), "image_size"),
    "image sides": (toml(image_size=[32, HUGE]), "image_size"),
    "patch 1e9": (toml(patch_size=10**9, image_size=10**9), "patch_size"),
    "depth 1e6": (toml(depth=10**6), "depth"),
    "depth 1e30": (toml(depth=HUGE), "depth"),
    "heads 1e9": (toml(heads=10**9), "heads"),
    "channels 1e9": (toml(channels=10**9), "channels"),
    "classes 1e10": (toml(classes=10**10), "classes"),
    "registers 1e12": (toml(register_tokens=10**12), "register_tokens"),
    "projection 1e11": (toml(projection=10**11), "projection"),
    "hidden 1e11": (toml(mlp_hidden=10**11), "mlp_hidden"),
    "ratio 1e308": (toml(mlp_ratio=1e308), "mlp_ratio"),
    "ratio 1e30": (toml(mlp_ratio=HUGE), "mlp_ratio"),
    "ratio of 400 digits": (toml(mlp_ratio="9" * 400), "mlp_ratio"),
    "width of 5000 digits": (toml(width="9" * 5000), "not TOML"),
    "deep lists": (f"source = 'x'\na = {'[' * 100_000}1{']' * 100_000}", "not TOML"),
    "deep tables": (f"a = {'{a=' * 100_000}", "not TOML"),
    "deep keys": (f"{'a.' * 100_000}a = 1", "dots"),
    "2 MB": ("# a comment\n" * 200_000, "1,048,576 bytes"),
}


@pytest.mark.parametrize("command", ["summary", "onnx"])
@pytest.mark.parametrize(("text", "word"), TOMLS.values(), ids=TOMLS)
def test_a_preset_of_impossible_sizes(tmp_path, command, text, word):
    path, out = tmp_path / "bomb.toml", tmp_path / "f.onnx"
    path.write_text(text)
    options = () if command == "summary" else ("--out", out, "-q")
    assert word in expect_error(command, "--model", path, *options, exit_code=2)
    assert list(tmp_path.iterdir()) == [path]


def test_a_preset_without_an_end(tmp_path):
    path = tmp_path / "endless.toml"
    path.symlink_to("/dev/zero")
    assert "no file of at most" in expect_error("summary", "--model", path, exit_code=2)


def write_deflated_marks(path: Path) -> None:
    """67 million opening brackets, each of which would become a list."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"(" * (1 << 26))


def write_stored_marks(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"(" * (1 << 23))


def write_raw_marks(path: Path) -> None:
    path.write_bytes(b"\x80\x02" + b"(" * (1 << 23) + b".")


def write_empty_tensors(path: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    write_safetensors(path, json.dumps({f"t{i}": empty for i in range(30_000)}).encode())


def write_deep_header(path: Path) -> None:
    write_safetensors(path, b'{"a":' * 100_000)


def write_huge_shape(path: Path) -> None:
    tensor = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}
    write_safetensors(path, json.dumps({"w": tensor}).encode(), bytes(4))


def write_endless_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")


def write_safetensors(path: Path, header: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


class Reserve:
    """An object that a pickle makes by reserving 50 GB."""

    def __reduce__(self) -> tuple[object, ...]:
        return bytearray, (50 << 30,)


def write_reservation(path: Path) -> None:
    torch.save({"x": Reserve()}, path)


def write_raw_reservation(path: Path) -> None:
    path.write_bytes(pickle.dumps(Reserve(), protocol=2))


def write_repeated_number(path: Path) -> None:
    """One number, of which strides of 0 make a tensor of terabytes."""
    torch.save({"w": torch.as_strided(torch.zeros(1), (1 << 36, 64), (0, 0))}, path)


def write_deflated_tensors(path: Path) -> None:
    """16 MB of zeros in 16 kB; gigabytes would take no more."""
    torch.save({"w": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, bytes(1 << 24) if name.endswith("data/0") else content)


CHECKPOINTS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "deflated pickle": ("w.pth", write_deflated_marks, "is compressed"),
    "deflated tensors": ("w.pth", write_deflated_tensors, "is compressed"),
    "large pickle": ("w.pth", write_stored_marks, "a pickle of more than 4,194,304 bytes"),
    "large old pickle": ("w.bin", write_raw_marks, "more than 1,000,000 instructions"),
    "reservation": ("w.pth", write_reservation, "as plain tensors"),
    "reservation in an old pickle": ("w.bin", write_raw_reservation, "as plain tensors"),
    "repeated number": ("w.pth", write_repeated_number, "no known family"),
    "empty tensors": ("w.safetensors", write_empty_tensors, "holds 30,000 tensors"),
    "deep header": ("w.safetensors", write_deep_header, "not a whole safetensors file"),
    "huge shape": ("w.safetensors", write_huge_shape, "not a whole safetensors file"),
    "endless header": ("w.safetensors", write_endless_header, "not a whole safetensors file"),
}


@pytest.mark.parametrize("command", ["inspect", "onnx"])
@pytest.mark.parametrize(("name", "write", "reason"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_that_unpacks_to_much_more(tmp_path, command, name, write, reason):
    path, out = tmp_path / name, tmp_path / "f.onnx"
    write(path)
    words = (path,) if command == "inspect" else ("--weights", path, "--out", out, "-q")
    message = expect_error(command, *words, exit_code=2)
    assert name in message
    assert reason in message
    assert list(tmp_path.iterdir()) == [path]
