"""Programs around generated C++ projects: two models in one, old CMake, and what they print."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cpp_projects import (
    DEBUG,
    SANITIZE,
    TRAINED,
    call,
    graph_build,
    in_cpp,
    in_graph,
    onnxruntime_root,
    runtimes,
)
from other_runtimes import install
from support import FASHION, need, run, run_json
from test_systems import SUPPRESS

from vit_export.cli.render.printable import make_printable

__all__ = ["graph_build", "in_cpp", "in_graph", "onnxruntime_root", "runtimes"]
"""Fixtures."""

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
PROGRAM = TESTS / "two_models"
"""A CMake project whose program has two models."""
IMAGE = FASHION / "images" / "bag_1.png"
OTHER_PREPROCESSING = ("--mean", "0.5", "--std", "0.2", "--resize", "40x30")
OLD_CMAKE = "cmake==3.18.4.post1"


@pytest.fixture(scope="module")
def models(shared_folder):
    """Two files of the same interface and of other preprocessing, and a project of each."""

    def fill(folder):
        (folder / "alike").mkdir()
        for name, steps in (("first", ()), ("second", OTHER_PREPROCESSING)):
            file = folder / f"{name}.onnx"
            run("onnx", *TRAINED, *steps, "--out", file, "-q")
            run("cpp", file, "--out", folder / name, "--name", name, "-q")
            run("cpp", file, "--out", folder / "alike" / name, "-q")  # both named as the model

    return shared_folder("cpp-two-models", fill)


def expect_answers(folder):
    """The best class and its probability, by the command, for the files of `models`."""
    files = [folder / f"{name}.onnx" for name in ("first", "second")]
    answers = [run_json("predict", file, IMAGE)[0] for file in files]
    return [(one["classes"][0], one["probabilities"][0]) for one in answers]


def check_answers(program, folder):
    files = [folder / f"{name}.onnx" for name in ("first", "second")]
    output = call(program, *files, IMAGE, FASHION / "labels.txt")
    lines = [line.rsplit(" ", 1) for line in output.splitlines()]
    expected = expect_answers(folder)
    assert abs(expected[0][1] - expected[1][1]) > 0.05  # else a mix-up could not be seen
    assert [label for label, _ in lines] == [label for label, _ in expected]
    probabilities = [float(one) for _, one in lines]
    assert probabilities == pytest.approx([one for _, one in expected], abs=1e-4)


def test_two_models_in_one_build_answer_for_themselves(tmp_path, models, runtimes):
    flags = (runtimes["onnx"], f"-DFIRST={models / 'first'}", f"-DSECOND={models / 'second'}")
    call("cmake", "-S", PROGRAM, "-B", tmp_path, *flags)
    call("cmake", "--build", tmp_path, "--parallel", "2")
    check_answers(tmp_path / "two_models", models)


def test_two_installed_models_answer_for_themselves(tmp_path, models, runtimes):
    prefix = tmp_path / "installed"
    for name in ("first", "second"):
        library = tmp_path / name
        flags = (runtimes["onnx"], f"-D{name}_PROGRAMS=OFF", DEBUG)
        call("cmake", "-S", models / name, "-B", library, *flags)
        call("cmake", "--build", library, "--parallel", "2")
        call("cmake", "--install", library, "--prefix", prefix)
        assert (prefix / "share" / name / "vit.onnx").is_file()
    program = tmp_path / "program"
    call("cmake", "-S", PROGRAM, "-B", program, runtimes["onnx"], f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", program, "--parallel", "2")
    check_answers(program / "two_models", models)


def test_two_models_of_one_name_share_no_class(tmp_path, models, onnxruntime_root):
    """Two sources, each with the header of one model, linked into one program."""
    objects = []
    for name in ("first", "second"):
        app = models / "alike" / name
        words = ("g++", "-std=c++17", "-c", "-I", app, "-isystem", onnxruntime_root / "include")
        for source in (
            PROGRAM / "one_model.cpp",
            app / "images/load.cpp",
            app / "images/libraries.cpp",
        ):
            objects.append(tmp_path / f"{name}_{source.stem}.o")
            call(*words, f"-DANSWER=answer_of_{name}", source, "-o", objects[-1])
    library = onnxruntime_root / "lib"
    words = (
        "-lpng",
        "-ljpeg",
        "-lz",
        "-L",
        library,
        "-lonnxruntime",
        f"-Wl,-rpath,{library}",
        "-o",
        tmp_path / "two",
    )
    call("g++", "-std=c++17", PROGRAM / "main.cpp", *objects, *words)
    check_answers(tmp_path / "two", models)


def test_cmake_refuses_two_projects_of_one_name(tmp_path, models, runtimes):
    folders = [f"-D{name.upper()}={models / 'alike' / name}" for name in ("first", "second")]
    words = ("cmake", "-S", PROGRAM, "-B", tmp_path, runtimes["onnx"], *folders)
    assert "vit-export cpp --name" in " ".join(call(*words, exit_code=1).split())


def test_the_oldest_cmake_builds_a_project(tmp_path, in_cpp, runtimes):
    cmake = install(OLD_CMAKE, "cpp") / "cmake" / "data" / "bin" / "cmake"
    assert "3.18.4" in call(cmake, "--version")
    app = tmp_path / "app"
    shutil.copytree(in_cpp, app)
    call(cmake, "-S", app, "-B", app / "build", runtimes["onnx"], DEBUG)
    call(cmake, "--build", app / "build", "--parallel", "2")
    assert "100% tests passed" in call(cmake, "-E", "chdir", app / "build", cmake.parent / "ctest")


def classify(app, *words, **options):
    program = (app / "build/classify", app / "vit.onnx", app / "golden/1.png", *words)
    return subprocess.run([*map(str, program)], capture_output=True, check=False, **options)


def can_trace():
    words = ["strace", "-o", "/dev/null", "true"]
    return bool(shutil.which("strace")) and subprocess.run(words, check=False).returncode == 0


def test_a_program_writes_no_device_id_and_calls_nobody(tmp_path, graph_build):
    found = {}
    for value in (None, "0"):
        home = tmp_path / f"home-{value}"
        home.mkdir()
        kept = {name: text for name, text in os.environ.items() if name not in SUPPRESS}
        environment = {**kept, "HOME": str(home)}
        environment.pop("XDG_CACHE_HOME", None)
        if value:
            environment["ORT_DISABLE_TELEMETRY"] = value
        assert classify(graph_build, env=environment).returncode == 0
        found[value] = [path.name for path in home.rglob("*")]
    assert not found[None]
    assert found["0"]  # the user's own variable decides; and the library does write without it
    log = tmp_path / "calls"
    words = ("strace", "-f", "-e", "trace=connect", "-o", log, graph_build / "build/classify")
    environment.pop("ORT_DISABLE_TELEMETRY")
    need("strace", present=can_trace(), fix="apt-get install strace, and allow ptrace")
    call(*words, graph_build / "vit.onnx", graph_build / "golden/1.png", env=environment)
    assert "exited with 0" in log.read_text()
    assert "connect(" not in log.read_text()


HOSTILE = "\x1b]0;title\x07 \x1b[2J \x9b31m \u202egnp.\u2066\u200f\u2028 \u061c\x7f é ☃ 😀 \\x1b"


def test_a_program_prints_labels_and_paths_without_control_characters(tmp_path, graph_build):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{i} {HOSTILE}\n" for i in range(10)), encoding="utf-8")
    done = classify(graph_build, "--labels", labels)
    shown = re.findall(r"^ *[\d.]+%  (.*)$", done.stdout.decode(), re.MULTILINE)
    assert len(shown) == 5
    assert {text[2:] for text in shown} == {make_printable(HOSTILE)}
    done = classify(graph_build, "--labels", tmp_path / HOSTILE)
    assert done.returncode == 1
    assert make_printable(f"{tmp_path / HOSTILE}: no such label file") in done.stderr.decode()


def test_every_character_is_printed_as_the_commands_print_it(tmp_path, in_graph):
    program = tmp_path / "printable"
    words = ("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", *SANITIZE.split())
    call(*words, "-I", in_graph, TESTS / "printable.cpp", "-o", program)
    generator = np.random.default_rng(1)
    everything = "".join(map(chr, [*range(0x3000), *range(0xD7F0, 0xE010), 0xFFFD, 0x10FFFF]))
    texts = [everything.encode("utf-8", "surrogatepass"), generator.bytes(1000)]
    texts += [bytes(generator.choice([*range(0x80, 0xC0), *range(0xE0, 0xF8)], 1000).tolist())]
    for text in texts:
        for lines in (False, True):
            command = [program, *(["lines"] if lines else [])]
            shown = subprocess.run(command, input=text, capture_output=True, check=True).stdout
            expected = make_printable(text.decode("utf-8", "surrogateescape"), lines=lines)
            assert shown == expected.encode()
