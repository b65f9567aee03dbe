"""A C++ project around a user's own module: its golden samples have the answers of that code."""

import re

import own_modules
import pytest
from cpp_projects import DEBUG, GRAPH, build, call, ctest, onnxruntime_root, runtimes
from support import expect_error, run

__all__ = ["onnxruntime_root", "runtimes"]
"""Fixtures."""

pytestmark = pytest.mark.slow

OWN = ("--module", f"{own_modules.__file__}:Net")
STEPS = ("--mean", 0.5, "--std", 0.25, "--resize", 36)
CLASSIFIER = ("--problem-type", "single_label", *STEPS)
PARTS = [("tokens", "1 16 8"), ("maps_0", "1 8 4 4"), ("logits", "1 5")]
"""The outputs of `own_modules.Parts`, as a program prints them."""


@pytest.mark.parametrize("place", ["cpp", "graph"])
def test_a_program_answers_as_the_code(tmp_path, runtimes, place):
    path, app = tmp_path / "n.onnx", tmp_path / "app"
    options = GRAPH if place == "graph" else ()
    run("onnx", *OWN, *CLASSIFIER, *options, "--image-size", 32, "--out", path, "-q")
    if place == "cpp":
        assert "give that code too" in expect_error("cpp", path, "--out", app, exit_code=2)
        run("cpp", path, "--out", app, "-q", *OWN)
    else:
        run("cpp", path, "--out", app, "-q")
    build(app, runtimes["onnx"], DEBUG)
    assert "100% tests passed" in ctest(app)


@pytest.mark.parametrize("name", ["Net", "Parts"])
def test_a_program_answers_the_tensors_of_the_code(tmp_path, runtimes, name):
    path, app = tmp_path / "n.onnx", tmp_path / "app"
    own = ("--module", f"{own_modules.__file__}:{name}")
    outputs = ("--outputs", "tokens,maps.0,logits") if name == "Parts" else ()
    run("onnx", *own, *STEPS, *outputs, "--image-size", 32, "--out", path, "-q")
    run("cpp", path, "--out", app, "-q", *own)
    build(app, runtimes["onnx"], DEBUG)
    assert "100% tests passed" in ctest(app)
    printed = call(app / "build/run", app / "vit.onnx", app / "golden/0.png")
    shapes = re.findall(r"^(\w+) ([\d ]+): ", printed, re.MULTILINE)
    expected = {"Net": [("tensor", "1 5")], "Parts": PARTS}
    assert shapes == expected[name]
