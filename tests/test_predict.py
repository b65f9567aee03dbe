"""`predict` answers image by image: a bad one is named, and the others are answered."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image
from support import FASHION, expect_error, run

from vit_export import onnx, predict
from vit_export.core.errors import RequestError

GOOD = [FASHION / "images" / name for name in ("bag_1.png", "bag_2.png")]


@pytest.mark.parametrize("form", ["", "--json", "--csv"])
@pytest.mark.parametrize("skip", [True, False])
def test_a_bad_image_among_many(tmp_path, fashion, form, skip):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    words = [fashion.path["onnx"], GOOD[0], bad, GOOD[1], "--top", "1"]
    words += [word for word in (form, "--skip-bad" * skip) if word]
    done = run("predict", *words, exit_code=0 if skip else 2)
    assert f"left out: {bad} is not an image" in done.stderr
    assert ("1 of 3 images can't be read" in done.stderr) is not skip
    if form == "--json":
        first, refused, last = json.loads(done.stdout)
        assert first["classes"] == last["classes"] == ["Bag"]
        assert "is not an image" in refused["error"]
    elif form == "--csv":
        rows = list(csv.DictReader(done.stdout.splitlines()))
        assert [(row["image"], row["class"]) for row in rows] == [(str(p), "Bag") for p in GOOD]
    else:
        assert [str(path) in done.stdout for path in (*GOOD, bad)] == [True, True, False]


def test_a_bad_image_in_python(tmp_path, fashion):
    path, bad = fashion.path["onnx"], tmp_path / "none.png"
    predictions = predict(path, [GOOD[0], bad, GOOD[1]], skip_bad=True)
    assert [one.image for one in predictions] == list(map(str, GOOD))
    with pytest.raises(RequestError, match="no such image"):
        predict(path, [GOOD[0], bad, GOOD[1]])


def test_csv_and_json_exclude_each_other(fashion):
    words = ("predict", fashion.path["onnx"], GOOD[0], "--csv", "--json")
    assert "exclude each other" in expect_error(*words, exit_code=2)


MEASURE = """
import re, sys
from pathlib import Path
from vit_export.cli import run
assert run(sys.argv[1:]) == 0
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s*([0-9]+)", status)[1]) / 1024, file=sys.stderr)
"""
"""Runs a command and prints its peak memory in MiB."""


def measure_peak_mib(artifact, photo, count):
    words = ("-c", MEASURE, "predict", artifact, *[photo] * count, "--csv")
    done = run(*words, command=sys.executable)
    assert done.stdout.count("\n") == 1 + 5 * count
    return float(done.stderr)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc has the peak of this process alone")
@pytest.mark.parametrize(("preprocess", "counts"), [("none", (1, 10, 30)), ("graph", (5, 15))])
def test_memory_does_not_grow_with_the_number_of_photographs(tmp_path, preprocess, counts):
    """Of 12 megapixels, 36 MB each; a graph on pixels keeps the memory of its first runs."""
    artifact, photo = tmp_path / "f.onnx", tmp_path / "photo.jpg"
    onnx("fashion_mnist", artifact, preprocess=preprocess)
    y, x = np.mgrid[:3000, :4000]
    colours = np.stack([y * 255 // 3000, x * 255 // 4000, x * y % 256], -1)
    Image.fromarray(colours.astype(np.uint8)).save(photo)
    first, *others = [measure_peak_mib(artifact, photo, count) for count in counts]
    assert first > 80
    assert max(others) < first + 15
