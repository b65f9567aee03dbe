"""A stranger's TorchScript file runs nothing: its program is checked before LibTorch loads it."""

import pickle
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from support import FASHION, SEED_STYLE, VARIANTS, expect_error, run, tiny_spec

import vit_export
from vit_export import RequestError
from vit_export.backends.torchscript.program import OPERATORS, check_program
from vit_export.model.vit.state import random_vit

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
IMAGE = FASHION / "images" / "bag_1.png"
COMMANDS = {
    "validate": ("--quiet",),
    "predict": (IMAGE,),
    "locate": ("--quiet",),
    "bench": ("--quiet",),
    "cpp": ("--out", "project"),
}
BEFORE = bytes(64)


def overwrite(path: str) -> torch.Tensor:
    """Write into a file, as a TorchScript program can."""
    numbers = torch.from_file(path, True, 64, dtype=torch.uint8)
    numbers[0] = 65
    return numbers


class WritesWhenRun(torch.nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.zeros(image.shape[0], 10) + overwrite(self.path).sum()


class State(NamedTuple):
    path: str
    training: bool


class WritesWhenOpened(torch.nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        overwrite(self.path)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.zeros(image.shape[0], 10)


@pytest.fixture
def victim(tmp_path):
    """A file of the user's, which has to stay as it is."""
    path = tmp_path / "victim"
    path.write_bytes(BEFORE)
    yield path
    assert path.read_bytes() == BEFORE


@pytest.fixture(params=["when run.pt", "when run.pth", "when opened.pt", "when opened.bin"])
def crafted(request, tmp_path, victim, fashion):
    """An archive with our manifest and a program that writes into a file of the user's."""
    module = WritesWhenRun if "run" in request.param else WritesWhenOpened
    with zipfile.ZipFile(fashion.path["torchscript"]) as archive:
        manifest = archive.read("archive/extra/vit_export.json")
    path = tmp_path / request.param
    torch.jit.script(module(str(victim))).save(
        str(path), _extra_files={"vit_export.json": manifest.decode()}
    )
    return path


def test_the_check_can_fail(tmp_path):
    """Loading and running such a program does write."""
    path = tmp_path / "victim"
    path.write_bytes(BEFORE)
    torch.jit.script(WritesWhenOpened(str(path))).save(str(tmp_path / "a.pt"))
    path.write_bytes(BEFORE)
    torch.jit.load(str(tmp_path / "a.pt"))
    assert path.read_bytes() != BEFORE


def test_a_crafted_program_is_not_opened(crafted, tmp_path):
    assert "torchscript, fp32" in run("inspect", crafted).stdout
    assert vit_export.inspect(crafted).labels == 10
    for command, options in COMMANDS.items():
        text = expect_error(command, crafted, *options, exit_code=2, cwd=tmp_path)
        assert "no TorchScript file as vit-export writes it" in text
    text = expect_error("summary", "--weights", crafted, exit_code=2)
    assert "is a TorchScript program" in text


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_no_operator_writes_to_its_input(name):
    """But for the variants with `out`, which write to a tensor that the program made."""
    packet = getattr(torch.ops.aten, name, None)
    schemas = [getattr(packet, one)._schema for one in packet.overloads()] if packet else []  # noqa: SLF001
    arguments = [one for schema in schemas for one in schema.arguments if not one.is_out]
    assert not any(one.is_write for one in arguments)


def test_a_program_is_no_checkpoint_to_validate_with(fashion, crafted):
    """`--weights` names tensors; a program with tensors is refused and not run."""
    text = expect_error(
        "validate", fashion.path["onnx"], "--weights", crafted, "--quiet", exit_code=2
    )
    assert "is a TorchScript program" in text


def change(path: Path, out: Path, edit) -> Path:
    """Write a copy of an archive whose records, a list of (name, content), `edit` has changed."""
    with zipfile.ZipFile(path) as archive:
        records = [(one.filename, archive.read(one)) for one in archive.infolist()]
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in edit(records):
            with pytest.warns() if name in archive.namelist() else nullcontext():
                archive.writestr(zipfile.ZipInfo(name), content)
    return out


def in_code(old: str, new: str):
    """An edit of the code, where `old` has to be."""

    def edit(records):
        assert any(old.encode() in content for name, content in records if name.endswith(".py"))
        return [
            (name, content.replace(old.encode(), new.encode()) if name.endswith(".py") else content)
            for name, content in records
        ]

    return edit


def in_record(ending: str, replace):
    """An edit of the record whose name ends so."""

    def edit(records):
        return [(name, replace(one) if name.endswith(ending) else one) for name, one in records]

    return edit


class Runs:
    def __reduce__(self):
        return print, ("it ran",)


HEAD = "  __buffers__ = []\n"
LAST = "    return _"
CRAFTED = {
    "unknown operator": (in_code("torch.gelu(", "torch.from_file("), "from_file"),
    "writes to its input": (in_code("torch.gelu(", "torch.gelu_("), "gelu_"),
    "operator with a space": (in_code("torch.gelu(", "torch . gelu("), "torch"),
    "other namespace": (in_code("torch.gelu(", "ops.prim.gelu("), "ops.prim"),
    "method": (in_code("torch.gelu(", "x1.gelu("), "x1.gelu"),
    "method of a call": (in_code(LAST, "    torch.add(x1, x1).save\n" + LAST), "'.save"),
    "method of a class": (in_code(HEAD, HEAD + "  def __setstate__(self, x: int):\n"), "__setst"),
    "other method": (in_code(HEAD, HEAD + "  def other(self, x: int):\n"), "other"),
    "attribute": (in_code(HEAD, HEAD + "  path : str\n  __annotations__ = []\n"), "__annot"),
    "other class": (in_code(HEAD, HEAD + "class A(NamedTuple):\n"), "no module"),
    "text": (in_code(LAST, '    x9 = "/etc/passwd"\n' + LAST), "/etc"),
    "comment": (in_code(LAST, "    # x\n" + LAST), "'# x"),
    "loop": (in_code(LAST, "    while True:\n      x9 = 1\n" + LAST), "while"),
    "import": (in_code(HEAD, HEAD + "import __torch__.a\n"), "import"),
    "called name": (in_code(LAST, "    print (1)\n" + LAST), "print"),
    "class of LibTorch": (in_code(": Tensor", ": __torch__.torch.classes.a.B"), "torch.classes"),
    "other letters": (in_code(LAST, "    \u00e4 = 1\n" + LAST), "ASCII"),
    "doubled record": (lambda records: [*records, records[-1]], "twice"),
    "doubled in another case": (
        lambda records: [*records, (records[2][0].upper().replace("ARCHIVE", "archive"), b"")],
        "it holds 'DATA.PKL'",
    ),
    "other folder": (lambda records: [*records, ("other/version", b"")], "several folders"),
    "nested": (lambda records: [(f"a/{name}", one) for name, one in records], "is missing"),
    "old format": (lambda records: [*records, ("archive/model.json", b"{}")], "model.json"),
    "bytecode": (lambda records: [*records, ("archive/bytecode.pkl", b"")], "bytecode"),
    "path": (lambda records: [*records, ("archive/../x", b"")], "../x"),
    "no constants": (
        lambda records: [r for r in records if "constants.pkl" not in r[0]],
        "missing",
    ),
    "pickle that calls": (
        in_record("/data.pkl", lambda _: pickle.dumps(Runs(), 2)),
        "a pickle inside has",
    ),
    "constants that call": (
        in_record("constants.pkl", lambda _: pickle.dumps((Runs(),), 2)),
        "a pickle inside has",
    ),
    "class of torch": (
        in_record("/data.pkl", lambda one: one.replace(b"__torch__.vit", b"__torch__.torch.vit")),
        "object is of",
    ),
    "two pickles": (in_record("/data.pkl", lambda one: one + one), "behind its end"),
    "cut pickle": (in_record("constants.pkl", lambda one: one[:-9]), "damaged"),
    "tensor beyond its record": (in_record("constants/0", lambda one: one[:-4]), "larger than"),
    "manifest of other bytes": (in_record("export.json", lambda _: b"\xff"), "UTF-8"),
}


@pytest.mark.parametrize(("edit", "reason"), CRAFTED.values(), ids=CRAFTED.keys())
def test_what_vit_export_never_writes_is_refused(tmp_path, fashion, monkeypatch, edit, reason):
    path = change(fashion.path["torchscript"], tmp_path / "a.pt", edit)
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(RequestError) as refusal:
        vit_export.validate(path)
    assert reason in refusal.value.message


def test_a_copy_without_a_change_is_accepted(tmp_path, fashion):
    check_program(change(fashion.path["torchscript"], tmp_path / "a.pt", lambda records: records))


BYTES = {
    "bytes before it": lambda whole: b"PK\x03\x04" + whole,
    "bytes behind it": lambda whole: whole + b"\0",
    "another list of records": lambda whole: whole + whole[-22:],
    "another name in a head": lambda whole: whole.replace(b"data.pkl", b"DATA.pkl", 1),
    "cut": lambda whole: whole[:-100],
}


@pytest.mark.parametrize("damage", BYTES.values(), ids=BYTES.keys())
def test_an_archive_that_two_readers_may_read_differently(tmp_path, fashion, damage):
    path = tmp_path / "a.pt"
    path.write_bytes(damage(fashion.path["torchscript"].read_bytes()))
    with pytest.raises(RequestError, match="no TorchScript file as vit-export writes it"):
        check_program(path)


def test_compressed_records_are_refused(tmp_path, fashion):
    with (
        zipfile.ZipFile(fashion.path["torchscript"]) as archive,
        zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as copy,
    ):
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    with pytest.raises(RequestError, match="compressed"):
        check_program(tmp_path / "a.pt")
    assert "compressed" in expect_error("inspect", tmp_path / "a.pt", exit_code=2)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [{}, SEED_STYLE, *VARIANTS.values()])
def test_every_model_has_a_program_that_is_accepted(tmp_path, variant):
    """The proof of an export opens the file, so a program that is refused fails the export."""
    spec = tiny_spec(**variant)
    vit = random_vit(spec, 0)
    vit_export.torchscript(vit, tmp_path / "a.pt")
    check_program(tmp_path / "a.pt")
    assert not names_a_device(tmp_path / "a.pt")


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("head", ["logits", "softmax", "sigmoid", "top5"])
def test_every_preprocessing_and_head_has_a_program_that_is_accepted(
    tmp_path, tiny_toml, interpolation, head
):
    options = {"preprocess": "graph", "head": head, "interpolation": interpolation}
    resize = "16" if head == "top5" else "20x24"
    vit_export.torchscript(tiny_toml, tmp_path / "a.pt", resize=resize, **options)
    check_program(tmp_path / "a.pt")
    assert not names_a_device(tmp_path / "a.pt")


def names_a_device(path: Path) -> bool:
    """Whether a program makes tensors on a device of its own, so that it runs nowhere else."""
    with zipfile.ZipFile(path) as archive:
        codes = [archive.read(name) for name in archive.namelist() if name.endswith(".py")]
    return any(b"device(" in code for code in codes)


def test_a_program_that_preprocesses_runs_on_every_device(tmp_path, tiny_toml):
    vit_export.torchscript(tiny_toml, tmp_path / "a.pt", preprocess="graph")
    assert not names_a_device(tmp_path / "a.pt")
