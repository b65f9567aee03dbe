"""A generated C++ project: what it contains, and which artifacts it refuses."""

import ast
import hashlib
import json
import re
import shlex
from pathlib import Path

import onnx
import PIL
import pytest
from cpp_projects import GRAPH, TRAINED, describe_small_model, generate, in_colour, in_cpp, in_graph
from edited_files import move_weights_out
from support import FASHION, expect_error, run, run_json

from vit_export.codegen.names import check_labels, check_name, choose_name
from vit_export.codegen.quoting import (
    ManifestText,
    quote_cmake,
    quote_comment,
    quote_cpp,
    quote_markdown,
    quote_shell,
)
from vit_export.core.errors import RequestError
from vit_export.data.pillow_resize import columns_may_come_first

__all__ = ["in_colour", "in_cpp", "in_graph"]  # fixtures

SOURCES = (
    *("CMakeLists.txt", "image.hpp", "main.cpp", "printable.hpp", "tests/golden.cpp", "vit.hpp"),
)
IMAGES = (
    *(f"images/{name}.hpp" for name in ("bytes", "decoders", "jpeg", "plain", "png")),
    *(f"images/{name}.cpp" for name in ("libraries", "load", "stb")),
)
FILES = {
    *SOURCES,
    *IMAGES,
    ".clang-format",
    "README.md",
    "cmake/config.cmake.in",
    "cmake/runtime.cmake",
    "labels.txt",
    *(f"third_party/{name}" for name in ("LICENSE.stb", "stb_image.h")),
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


LINES = {"in_graph": 520, "in_graph_logits": 520, "in_cpp": 570, "in_colour": 570}
"""Bound on all lines of C++ and CMake but those that read images, with blank lines and comments."""
CODE_LINES = 490
"""Bound on the lines without blank lines and comments."""


@pytest.mark.parametrize("place", LINES)
def test_a_project_reads_as_if_written_by_hand(request, place):
    app = request.getfixturevalue(place)
    for name in (*SOURCES, *IMAGES, "README.md"):
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


STB_IMAGE_2_30 = "594c2fe35d49488b4382dbfaec8f98366defca819d916ac95becf3e75f4200b3"
"""SHA-256 of the published file."""
MARK = "// vit-export"
REPLACED_LINES = {
    "j->padding = 64": (
        "   if (j->code_bits < n) return 0; "
        "// ran out of bits from stream, return 0s intead of continuing\n"
    ),
    "input[w-1]*3 + input[w-2]": "   out[i*2+0] = stbi__div4(input[w-2]*3 + input[w-1] + 2);\n",
    "(short) product": (
        "            data[zig] = (short) (stbi__extend_receive(j,s) * dequant[zig]);\n"
    ),
}
"""Published lines, by a part of the marked line that replaces each."""


def test_stb_image_is_the_published_one_but_for_the_marked_lines(in_graph):
    lines = (in_graph / "third_party/stb_image.h").read_text().splitlines(keepends=True)
    assert sum(MARK in line for line in lines) == 7
    published = [
        "".join(one for part, one in REPLACED_LINES.items() if part in line)
        if MARK in line
        else line
        for line in lines
    ]
    assert hashlib.sha256("".join(published).encode()).hexdigest() == STB_IMAGE_2_30


def test_the_command_names_the_next_commands(tmp_path, in_graph):
    project = run_json("cpp", in_graph / "vit.onnx", "--out", tmp_path / "app", "-q")
    assert (project["preprocess"], project["images"]) == ("graph", 10)
    assert [command.split()[0] for command in project["commands"]] == ["cmake", "cmake", "cmake"]


def test_the_next_commands_are_quoted_for_a_shell(tmp_path, in_graph):
    project = run_json("cpp", in_graph / "vit.onnx", "--out", tmp_path / "my app", "-q")
    words = [shlex.split(command) for command in project["commands"]]
    assert words[0][:5] == ["cmake", "-S", str(tmp_path / "my app"), "-B", words[1][2]]
    assert words[1][2] == words[2][3] == str(tmp_path / "my app" / "build")


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
    assert "its .data file again" in message
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


HOSTILE = 'x"\\\n)?\u202e?/execute_process(COMMAND id) ${HOME} $(id) `id` ;\x1b]0;@A@é'


def test_text_of_a_manifest_stays_text_in_every_language():
    """No quoted text ends its literal, its line or its word."""
    value = ManifestText(HOSTILE)
    with pytest.raises(TypeError):
        f"{value}"
    assert ast.literal_eval("b" + quote_cpp(value).replace("\\?", "?")) == HOSTILE.encode()
    assert shlex.split(quote_shell(value)) == [HOSTILE]
    for quote in (quote_cpp, quote_comment, quote_markdown, quote_cmake):
        assert not re.search(r"[\n\x1b\u202e]", quote(value))
    for quote in (quote_cpp, quote_comment):
        assert "??/" not in quote(value)
    assert not quote_comment(ManifestText("x\\")).endswith("\\")


@pytest.mark.parametrize("label", ["T-shirt\nor top", "a\rb", "\x1b]0;x\x07", "\ud800"])
def test_labels_that_no_line_can_hold_are_refused(label):
    with pytest.raises(RequestError, match="class 1") as caught:
        check_labels(("Bag", label), Path("f.onnx"))
    assert "\n" not in caught.value.message


def test_a_name_is_one_of_cmake_and_cpp():
    models = ("fashion_mnist", "hf-hub:a/b.c", "9", "class", "é\n)", "a__b")
    names = [choose_name(model) for model in models]
    assert names == ["fashion_mnist", "hf_hub_a_b_c", "model_9", "model_class", "any_model", "a_b"]
    assert [check_name(name) for name in names] == names
    for name in ("", "a b", "a\n", "9a", "a__b", "_a", "class", "vit", "a)", "test"):
        with pytest.raises(RequestError):
            check_name(name)


def test_whole_numbers_are_floats_of_cpp(tmp_path):
    toml = describe_small_model(tmp_path, mode="L")
    toml.write_text(
        re.sub("mean = .*", "mean = [0]", re.sub("std = .*", "std = [1]", toml.read_text()))
    )
    header = (generate(tmp_path / "project", "onnx", "--model", toml) / "vit.hpp").read_text()
    assert "kMean[] = {0.0F}" in header
    assert "kStd[] = {1.0F}" in header
