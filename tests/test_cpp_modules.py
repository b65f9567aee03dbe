"""A C++ project around a user's own module: its golden samples have the answers of that code."""

import own_modules
import pytest
from cpp_projects import DEBUG, GRAPH, build, ctest, onnxruntime_root, runtimes
from support import expect_error, run

__all__ = ["onnxruntime_root", "runtimes"]
"""Fixtures."""

pytestmark = pytest.mark.slow

OWN = ("--module", f"{own_modules.__file__}:Net")
CLASSIFIER = ("--problem-type", "single_label", "--mean", 0.5, "--std", 0.25, "--resize", 36)


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


def test_a_file_without_classes_is_refused(tmp_path):
    run("onnx", *OWN, "--image-size", 32, "--out", tmp_path / "n.onnx", "-q")
    text = expect_error("cpp", tmp_path / "n.onnx", "--out", tmp_path / "app", exit_code=2)
    assert "export it with --problem-type if its answer is logits" in text
