"""OUT is a file of its own: no input, no device, no folder, and as private as the one before."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, expect_error

import vit_export
from vit_export import BuildError, RequestError
from vit_export.core.output_path import check_keeps_inputs, check_writable, resolve_out
from vit_export.core.staging import rejected_names, stage_file
from vit_export.validation.html_report import resolve_report

FASHION = ROOT / "models" / "fashion_mnist"


def write(out, content="new", companions=(), progress=None):
    with stage_file(out, *([progress] if progress else [])) as stage:
        stage.file.write_text(content)
        for name in companions:
            (stage.folder / name).write_text(content)
        stage.commit()


# Names


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("new/", "names a folder"),
        ("", "names a folder"),
        (os.fsdecode(b"\xff.onnx"), "is not UTF-8"),
    ],
)
def test_names_that_no_file_can_have(out, message):
    with pytest.raises(RequestError, match=message) as error:
        resolve_out(out)
    assert error.value.fix


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_out("~/x.onnx") == tmp_path / "x.onnx"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "model.onnx").write_text("old")
    link = tmp_path / "current.onnx"
    link.symlink_to("v1/model.onnx")
    write(resolve_out(link))
    assert link.is_symlink()
    assert link.read_text() == (tmp_path / "v1" / "model.onnx").read_text() == "new"


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(RequestError, match="leads in a circle"):
        resolve_out(tmp_path / "a")


@pytest.mark.parametrize("length", [234, 235, 245])
def test_names_leave_room_for_those_of_companions(tmp_path, length):
    out = tmp_path / ("l" * length)
    if length > 234:
        with pytest.raises(RequestError, match="longer than 234 bytes"):
            check_writable(out)
        return
    with stage_file(out) as stage:
        stage.file.write_text("new")
        stage.reject("why")
    assert rejected_names(out)[1].read_text() == "why"


def test_the_command_that_makes_a_folder_is_quoted(tmp_path):
    with pytest.raises(RequestError) as error:
        check_writable(tmp_path / "my models" / "x.onnx")
    subprocess.run(["sh", "-c", error.value.fix], check=True)
    check_writable(tmp_path / "my models" / "x.onnx")


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(RequestError, match="a device, a pipe or a socket"):
            vit_export.onnx("fashion_mnist", out)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize(
    ("target", "name", "fix"),
    [
        ("onnx", "x.pt", "x.onnx"),
        ("onnx", "x.engine", "x.onnx"),
        ("onnx", "x.safetensors", "x.onnx"),
        ("torchscript", "x.onnx", "x.pt"),
    ],
)
def test_a_suffix_of_another_kind_is_refused(tmp_path, target, name, fix):
    with pytest.raises(RequestError, match="is the suffix of") as error:
        getattr(vit_export, target)("fashion_mnist", tmp_path / name)
    assert fix in error.value.fix
    assert not list(tmp_path.iterdir())


def test_a_report_is_html(tmp_path):
    with pytest.raises(RequestError, match="the report is HTML"):
        resolve_report(tmp_path / "a.onnx", {})
    artifact = tmp_path / "a.html"
    artifact.write_text("precious")
    with pytest.raises(RequestError, match="would replace it"):
        resolve_report(artifact, {"ARTIFACT": artifact})


# Inputs


def copy(name, folder):
    return shutil.copy(FASHION / name, folder / name)


def read_weights(folder):
    return "out", {"weights": copy("fashion_mnist.safetensors", folder)}


def read_labels(folder):
    return "out", {"labels": copy("labels.txt", folder)}


def link_weights(folder):
    """The same file by another name."""
    weights = copy("fashion_mnist.safetensors", folder)
    os.link(weights, folder / "hard.bin")
    return "out", {"weights": weights, "out": folder / "hard.bin"}


def read_folder(folder):
    copy("fashion_mnist.safetensors", folder)
    (folder / "config.bin").write_text("of the checkpoint")
    return "out", {"weights": folder, "out": folder / "config.bin"}


def plot_on_weights(folder):
    weights = folder / "w.png"
    shutil.copy(FASHION / "fashion_mnist.safetensors", weights)
    options = {"precision": "auto", "plot": weights, "weights": weights}
    return "plot", options | {"out": folder / "x.onnx"}


def delete_as_rejected(folder):
    """OUT.rejected is deleted when OUT is proven."""
    weights = folder / "x.onnx.rejected"
    shutil.copy(FASHION / "fashion_mnist.safetensors", weights)
    return "weights", {"weights": weights, "out": folder / "x.onnx"}


@pytest.mark.parametrize(
    "make",
    [read_weights, read_labels, link_weights, read_folder, plot_on_weights, delete_as_rejected],
)
def test_no_input_is_replaced(tmp_path, make):
    replaced, options = make(tmp_path)
    options.setdefault("out", next(path for path in options.values()))
    if str(options["out"]).endswith(".safetensors"):
        options["out"] = shutil.move(options["out"], tmp_path / "w.bin")
        options["weights"] = options["out"]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RequestError, match="would replace it") as error:
        vit_export.onnx("fashion_mnist", **options)
    assert str(options[replaced]) in error.value.message
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_toml_of_a_model_and_what_it_names_stay(tmp_path):
    for name in ("fashion_mnist.toml", "fashion_mnist.safetensors", "labels.txt"):
        copy(name, tmp_path)
    toml = str(tmp_path / "fashion_mnist.toml")
    for name in ("fashion_mnist.toml", "labels.txt"):
        with pytest.raises(RequestError, match="would replace it"):
            vit_export.onnx(toml, tmp_path / name)


@pytest.mark.parametrize("command", ["bench", "locate"])
def test_a_figure_is_no_input(tmp_path, command):
    artifact = tmp_path / "a.png"
    artifact.write_text("precious")
    error = expect_error(command, artifact, "--plot", artifact, exit_code=2)
    assert "would replace it" in error
    assert artifact.read_text() == "precious"


def test_a_file_of_an_earlier_run_may_stand_in_a_folder_that_is_read(tmp_path):
    out = tmp_path / "x.onnx"
    out.write_text("earlier")
    check_keeps_inputs(out, {"--weights": tmp_path}, suffixes={".onnx"})
    with pytest.raises(RequestError, match="is the file of --weights"):
        check_keeps_inputs(out, {"--weights": tmp_path})


# What stands beside OUT


def test_mode_and_owner_stay(tmp_path):
    out = tmp_path / "x.onnx"
    out.write_text("old")
    out.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(out, 12, 34)
    before = out.stat()
    data = f"x.onnx.{'0' * 12}.data"
    write(out, companions=[data])
    for file in (out, tmp_path / data):
        status = file.stat()
        assert stat.S_IMODE(status.st_mode) == 0o640
        assert (status.st_uid, status.st_gid) == (before.st_uid, before.st_gid)


@pytest.mark.parametrize("blocked", ["x.onnx.rejected", f"x.onnx.{'1' * 12}.data"])
def test_a_folder_with_the_name_of_a_leftover_is_left_alone(tmp_path, blocked):
    (tmp_path / blocked).mkdir()
    write(tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_text() == "new"
    assert (tmp_path / blocked).is_dir()


def test_out_is_untouched_if_a_companion_cannot_take_its_place(tmp_path):
    """An engine's manifest that was replaced already comes back."""
    out, data = tmp_path / "x.engine", f"x.engine.onnx.{'2' * 12}.data"
    for name in ("x.engine", "x.engine.json"):
        (tmp_path / name).write_text("old")
    (tmp_path / "x.engine.onnx").mkdir()
    with pytest.raises(BuildError, match="can't be written"):
        write(out, companions=[data, "x.engine.json", "x.engine.onnx"])
    names = {path.name: path for path in tmp_path.iterdir()}
    assert names.keys() == {"x.engine", "x.engine.json", "x.engine.onnx"}
    assert names["x.engine"].read_text() == names["x.engine.json"].read_text() == "old"


def test_a_planted_link_is_replaced_and_its_target_stays(tmp_path):
    victim, out = tmp_path / "victim", tmp_path / "x.onnx"
    victim.write_text("precious")
    for link in rejected_names(out):
        link.symlink_to(victim)
    with stage_file(out) as stage:
        stage.file.write_text("new")
        stage.reject("why")
    assert victim.read_text() == "precious"
    assert [path.read_text() for path in rejected_names(out)] == ["new", "why"]


# Staging folders


@pytest.mark.parametrize("out", ["e", "*"])
def test_folders_of_the_user_are_no_leftovers(tmp_path, out):
    for name in (".e.mine.partial", ".zzz.v1.partial"):
        (tmp_path / name).mkdir()
    write(tmp_path / out)
    assert (tmp_path / ".e.mine.partial").is_dir()
    assert (tmp_path / ".zzz.v1.partial").is_dir()


def test_leftovers_of_a_name_with_brackets_are_deleted(tmp_path):
    (tmp_path / ".k[1].onnx.abcd1234.partial").mkdir()
    write(tmp_path / "k[1].onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["k[1].onnx"]


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_has_the_name_of_a_leftover_and_is_no_folder_stays(tmp_path, kind):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("precious")
    planted = tmp_path / ".f.abcd1234.partial"
    os.mkfifo(planted) if kind == "pipe" else planted.symlink_to("folder")
    write(tmp_path / "f")
    assert os.path.lexists(planted)
    assert (tmp_path / "folder" / "mine").read_text() == "precious"


HOLD = """
import sys
from pathlib import Path
from vit_export.core.locks import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_of_another_program_is_waited_for_aloud(tmp_path):
    from contextlib import nullcontext

    command = [sys.executable, "-c", HOLD, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    warnings = []
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == "locked\n"

        def progress(stage):
            warnings.append(stage)
            holder.stdin.close()  # the other program ends
            return nullcontext()

        write(tmp_path / "x.onnx", progress=progress)
    assert str(tmp_path) in warnings[0]
    assert "waiting" in warnings[0]
