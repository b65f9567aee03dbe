"""A generated C++ project: what it contains, and which artifacts it refuses."""

import json
import re
import shlex
from pathlib import Path

import onnx
import PIL
import pytest
from cpp_projects import GRAPH, TRAINED, describe_small_model, generate, in_colour, in_cpp, in_graph
from edited_files import move_weights_out
from support import FASHION, expect_error, need, run, run_json

from vit_export.data.pillow_resize import columns_may_come_first

__all__ = ["in_colour", "in_cpp", "in_graph"]  # fixtures

SOURCES = ("CMakeLists.txt", "image.hpp", "main.cpp", "tests/golden.cpp", "vit.hpp")
FILES = {
    *SOURCES,
    ".clang-format",
    "README.md",
    "labels.txt",
    *(f"third_party/{name}" for name in ("LICENSE.stb", "stb_image.cpp", "stb_image.h")),
}


def test_a_project_has_all_files(in_graph):
    files = {path.relative_to(in_graph).as_posix() for path in in_graph.rglob("*")}
    assert FILES | {"vit.onnx"} <= files
    assert (in_graph / "labels.txt").read_text() == (FASHION / "labels.txt").read_text()
    index = (in_graph / "golden/index.txt").read_text().splitlines()
    images = [line.split()[0] for line in index]
    assert {Path(name).suffix for name in images} == {".jpg", ".png", ".ppm"}
    for name in images:
        assert (in_graph / "golden" / f"{name}.input").stat().st_size > 0


@pytest.fixture(scope="module")
def in_graph_logits(shared_folder):
    """A project whose model file resizes and answers logits."""
    words = ("onnx", *TRAINED, *GRAPH)
    return shared_folder("cpp-logits", lambda folder: generate(folder, *words)) / "app"


LINES = {"in_graph": 410, "in_graph_logits": 410, "in_cpp": 470, "in_colour": 470}
"""Bound on all lines of C++ and CMake, with blank lines and comments."""
CODE_LINES = 400
"""Bound on the lines without blank lines and comments."""


@pytest.mark.parametrize("place", LINES)
def test_a_project_reads_as_if_written_by_hand(request, place):
    app = request.getfixturevalue(place)
    for name in (*SOURCES, "README.md"):
        text = (app / name).read_text()
        assert not re.search(r"@\{|\}@|\{%|%\}|\n\n\n|[ \t]\n", text), name
        assert max(map(len, text.splitlines())) <= 130, name
    lines = [line for name in SOURCES for line in (app / name).read_text().splitlines()]
    assert len(lines) < LINES[place]
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("//")]
    assert len(code) < CODE_LINES


def test_a_project_is_reproducible(tmp_path, in_graph):
    run("cpp", in_graph / "vit.onnx", "--out", tmp_path / "app", "-q")
    for path in (one for one in in_graph.rglob("*") if one.is_file()):
        assert (tmp_path / "app" / path.relative_to(in_graph)).read_bytes() == path.read_bytes()


def test_stb_image_is_debians(in_graph):
    debian = Path("/usr/include/stb/stb_image.h")
    need("cpp", present=debian.exists(), fix="apt-get install libstb-dev, or scripts/test --apt")
    assert (in_graph / "third_party/stb_image.h").read_bytes() == debian.read_bytes()


def test_the_command_names_the_next_commands(tmp_path, in_graph):
    project = run_json("cpp", in_graph / "vit.onnx", "--out", tmp_path / "app", "-q")
    assert (project["preprocess"], project["images"]) == ("graph", 10)
    assert [command.split()[0] for command in project["commands"]] == ["cmake", "cmake", "ctest"]


def test_the_next_commands_are_quoted_for_a_shell(tmp_path, in_graph):
    project = run_json("cpp", in_graph / "vit.onnx", "--out", tmp_path / "my app", "-q")
    words = [shlex.split(command) for command in project["commands"]]
    assert words[0][:5] == ["cmake", "-S", str(tmp_path / "my app"), "-B", words[1][2]]
    assert words[1][2] == words[2][2] == str(tmp_path / "my app" / "build")


def test_a_folder_with_files_needs_force(tmp_path, in_graph):
    out = tmp_path / "app"
    out.mkdir()
    (out / "vit.hpp").write_text("mine")
    (out / "other.txt").write_text("mine too")
    assert "not empty" in expect_error("cpp", in_graph / "vit.onnx", "--out", out, exit_code=2)
    assert (out / "vit.hpp").read_text() == "mine"
    run("cpp", in_graph / "vit.onnx", "--out", out, "--force", "-q")
    assert (out / "vit.hpp").read_text() != "mine"
    assert (out / "other.txt").read_text() == "mine too"


REFUSALS = {
    "no classes": (("--outputs", "features"), (), "has no classes"),
    "two at a time": (("--batch", "2"), (), "no single image"),
    "not in the graph": ((), GRAPH, "takes normalized numbers"),
    "not in C++": (GRAPH, ("--preprocess", "cpp"), "preprocesses by itself"),
    "nearest": (("--interpolation", "nearest"), (), "export it with --interpolation"),
}


@pytest.mark.parametrize(("export", "arguments", "message"), REFUSALS.values(), ids=REFUSALS)
def test_unsuitable_artifacts_are_refused(tiny_toml, export, arguments, message):
    artifact, out = tiny_toml.with_name("f.onnx"), tiny_toml.with_name("app")
    run("onnx", "--model", tiny_toml, *export, "--out", artifact, "-q")
    assert message in expect_error("cpp", artifact, "--out", out, "-q", *arguments, exit_code=2)
    assert not out.exists()


def test_an_artifact_without_preprocessing_is_refused(tmp_path):
    artifact = tmp_path / "f.onnx"
    run(
        "onnx",
        "--model",
        describe_small_model(tmp_path, preprocessing=False),
        "--out",
        artifact,
        "-q",
    )
    message = expect_error("cpp", artifact, "--out", tmp_path / "app", "-q", exit_code=2)
    assert "export it with --mean, --std and --resize." in message


def pretend_other_pillow(path, to):
    """Change the manifest as if a Pillow had made it that resizes in another order."""
    model = onnx.load(path)
    (prop,) = (one for one in model.metadata_props if one.key == "vit_export")
    manifest = json.loads(prop.value)
    first = columns_may_come_first(PIL.__version__)
    manifest["versions"]["pillow"] = "11.3.0" if first else "13.0.0"
    prop.value = json.dumps(manifest)
    onnx.save(model, to)
    return to


def test_cpp_resizes_as_the_pillow_that_makes_its_golden_inputs(tmp_path, in_cpp):
    other = pretend_other_pillow(in_cpp / "vit.onnx", tmp_path / "f.onnx")
    run("cpp", other, "--out", tmp_path / "app", "-q")
    assert (tmp_path / "app/vit.hpp").read_text() == (in_cpp / "vit.hpp").read_text()


def test_weights_do_not_prove_a_file_that_resizes_as_another_pillow(tmp_path, in_graph):
    other = pretend_other_pillow(in_graph / "vit.onnx", tmp_path / "f.onnx")
    weights = FASHION / "fashion_mnist.safetensors"
    request = ("cpp", other, "--out", tmp_path / "app", "-q")
    assert "resizes as Pillow" in expect_error(*request, "--weights", weights, exit_code=2)
    run(*request)


def test_a_model_with_renamed_data_is_refused(tmp_path, in_cpp):
    """The copy in the project has to open; a model opens where its data is, whatever its name."""
    data = move_weights_out(in_cpp / "vit.onnx", tmp_path / "f.onnx")
    run("cpp", tmp_path / "f.onnx", "--out", tmp_path / "app", "-q")
    assert (tmp_path / "app" / data.name).exists()
    (tmp_path / "f.onnx").rename(tmp_path / "h.onnx")
    message = expect_error(
        "cpp", tmp_path / "h.onnx", "--out", tmp_path / "other", "-q", exit_code=2
    )
    assert "with its .data file" in message
    assert not (tmp_path / "other").exists()


def test_a_missing_artifact_is_refused(tmp_path):
    missing = tmp_path / "missing.onnx"
    assert "no such artifact" in expect_error(
        "cpp", missing, "--out", tmp_path / "app", exit_code=2
    )


def test_fp16_inputs_are_refused(tmp_path, tiny_toml):
    artifact = tmp_path / "f.onnx"
    run("onnx", "--model", tiny_toml, "--precision", "fp16", "--io-fp16", "--out", artifact, "-q")
    message = expect_error("cpp", artifact, "--out", tmp_path / "app", "-q", exit_code=2)
    assert "--io-fp16" in message
