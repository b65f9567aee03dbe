"""A generated C++ project compiles without a warning and answers as eager PyTorch: for real."""

import dataclasses
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cpp_projects import (
    NO_LEAKS,
    SANITIZE,
    build,
    call,
    compiled,
    ctest,
    generated,
    onnxruntime_root,
    runtimes,
)
from PIL import Image
from support import FASHION, ROOT, need, refused, run, run_json

from vit_export.image_files import read_input
from vit_export.vit.preprocess import Preprocessing, preprocess

__all__ = ["onnxruntime_root", "runtimes"]  # fixtures

GRAPH = ("--preprocess", "graph")
TRAINED = ("--model", "fashion_mnist")
SIZE_224 = ("--model", "vit_tiny_patch16_224")
SOURCES = ("CMakeLists.txt", "image.hpp", "main.cpp", "tests/golden.cpp", "vit.hpp")
FILES = {
    *SOURCES,
    ".clang-format",
    "README.md",
    "labels.txt",
    *(f"third_party/{name}" for name in ("LICENSE.stb", "stb_image.cpp", "stb_image.h")),
}
TESTS = Path(__file__).parent
PHOTO = ROOT / "vit_export" / "photos" / "cat.png"


@pytest.fixture(scope="module")
def in_graph(tmp_path_factory):
    """A project of the trained model that resizes in its file; tests that change it take a copy."""
    return generated(tmp_path_factory.mktemp("graph"), "onnx", *TRAINED, *GRAPH, "--head", "top5")


@pytest.fixture(scope="module")
def in_cpp(tmp_path_factory):
    """The same that resizes in C++."""
    return generated(tmp_path_factory.mktemp("cpp"), "onnx", *TRAINED)


def code(app):
    """Lines of C++ and CMake that are neither blank nor comment."""
    lines = [line for name in SOURCES for line in (app / name).read_text().splitlines()]
    return [line for line in lines if line.strip() and not line.strip().startswith("//")]


def test_what_is_written(in_graph):
    found = {path.relative_to(in_graph).as_posix() for path in in_graph.rglob("*")}
    assert FILES | {"vit.onnx"} <= found
    assert (in_graph / "labels.txt").read_text() == (FASHION / "labels.txt").read_text()
    index = (in_graph / "golden/index.txt").read_text().splitlines()
    images = [line.split()[0] for line in index]
    assert {Path(name).suffix for name in images} == {".jpg", ".png", ".ppm"}
    for name in images:
        assert (in_graph / "golden" / f"{name}.input").stat().st_size > 0


@pytest.mark.parametrize("place", ["in_graph", "in_cpp"])
def test_what_is_written_reads_as_if_by_hand(request, place):
    app = request.getfixturevalue(place)
    for name in (*SOURCES, "README.md"):
        text = (app / name).read_text()
        assert not re.search(r"@\{|\}@|\{%|%\}|\n\n\n|[ \t]\n", text), name
        assert max(map(len, text.splitlines())) <= 130, name
    assert len(code(app)) < 400


def test_the_same_project_again(tmp_path, in_graph):
    run("cpp", in_graph / "vit.onnx", "--out", tmp_path / "app", "-q")
    for path in (one for one in in_graph.rglob("*") if one.is_file()):
        assert (tmp_path / "app" / path.relative_to(in_graph)).read_bytes() == path.read_bytes()


def test_the_decoder_is_debians(in_graph):
    debian = Path("/usr/include/stb/stb_image.h")
    need("cpp", present=debian.exists(), fix="apt-get install libstb-dev, or scripts/test --apt")
    assert (in_graph / "third_party/stb_image.h").read_bytes() == debian.read_bytes()


def test_the_command_says_what_to_do_next(tmp_path, in_graph):
    told = run_json("cpp", in_graph / "vit.onnx", "--out", tmp_path / "app", "-q")
    assert (told["preprocess"], told["images"]) == ("graph", 10)
    assert [command.split()[0] for command in told["commands"]] == ["cmake", "cmake", "ctest"]


def test_a_folder_with_files_is_kept(tmp_path, in_graph):
    out = tmp_path / "app"
    out.mkdir()
    (out / "vit.hpp").write_text("mine")
    (out / "other.txt").write_text("mine too")
    assert "not empty" in refused("cpp", in_graph / "vit.onnx", "--out", out, exit_code=2)
    assert (out / "vit.hpp").read_text() == "mine"
    run("cpp", in_graph / "vit.onnx", "--out", out, "--force", "-q")
    assert (out / "vit.hpp").read_text() != "mine"
    assert (out / "other.txt").read_text() == "mine too"


REFUSED = {
    "no classes": (("--outputs", "features"), (), "has no classes"),
    "two at a time": (("--batch", "2"), (), "no single image"),
    "not in the graph": ((), GRAPH, "takes normalized numbers"),
    "not in C++": (GRAPH, ("--preprocess", "cpp"), "preprocesses by itself"),
    "nearest": (("--interpolation", "nearest"), (), "nearest"),
}


@pytest.mark.parametrize(("export", "arguments", "told"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(tmp_path, export, arguments, told):
    artifact, out = tmp_path / "f.onnx", tmp_path / "app"
    run("onnx", *TRAINED, *export, "--out", artifact, "-q")
    assert told in refused("cpp", artifact, "--out", out, "-q", *arguments, exit_code=2)
    assert not out.exists()


def test_no_artifact(tmp_path):
    missing = tmp_path / "missing.onnx"
    assert "no such artifact" in refused("cpp", missing, "--out", tmp_path / "app", exit_code=2)


# Compiled ------------------------------------------------------------------------------------

PROJECTS = {
    "onnx graph top5": ("onnx", (*TRAINED, *GRAPH, "--head", "top5")),
    "onnx graph int8": ("onnx", (*TRAINED, *GRAPH, "--precision", "int8")),
    "onnx cpp": ("onnx", TRAINED),
    "onnx graph 224 softmax": ("onnx", (*SIZE_224, *GRAPH, "--head", "softmax")),
    "onnx cpp 224": ("onnx", SIZE_224),
    "torchscript graph top5": ("torchscript", (*TRAINED, *GRAPH, "--head", "top5")),
    "torchscript cpp 224": ("torchscript", SIZE_224),
}


@pytest.mark.slow
@pytest.mark.parametrize(("target", "export"), PROJECTS.values(), ids=PROJECTS)
def test_a_project_builds_and_passes_its_tests(tmp_path, runtimes, target, export):
    app = generated(tmp_path, target, *export)
    build(app, runtimes[target])  # a warning of g++ is an error here
    told = ctest(app)
    assert "100% tests passed" in told
    assert told.count("answer off by") == 18
    assert "FAILED" not in told


@pytest.fixture(scope="module")
def built(tmp_path_factory, in_graph, runtimes):
    app = tmp_path_factory.mktemp("built") / "app"
    shutil.copytree(in_graph, app)
    build(app, runtimes["onnx"])
    return app


@pytest.mark.slow
def test_it_answers_as_predict(built):
    expected = run_json("predict", built / "vit.onnx", FASHION / "images" / "bag_1.png")[0]
    image, labels = FASHION / "images" / "bag_1.png", built / "labels.txt"
    told = call(built / "build/classify", built / "vit.onnx", image, "--top", 3, "--labels", labels)
    found = re.findall(r"^ *([\d.]+)%  (.*)$", told, re.MULTILINE)
    assert [name for _, name in found] == expected["classes"][:3]
    for (share, _), probability in zip(found, expected["probabilities"], strict=False):
        assert float(share) == pytest.approx(100 * probability, abs=0.006)


def corrupt(path, at=0):
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def change_mean(app):
    header = app / "vit.hpp"
    header.write_text(header.read_text().replace("kMean[] = {0.286F}", "kMean[] = {0.296F}"))


SPOILED = {
    "a golden input": (lambda app: corrupt(app / "golden/photo_cat.png.input", 99), "input off"),
    "golden logits": (lambda app: corrupt(app / "golden/photo_cat.png.logits", 3), "answer off"),
    "a golden file that is cut": (
        lambda app: (app / "golden/photo_cat.png.logits").write_bytes(b"1234"),
        "another length",
    ),
    "a golden index that is cut": (
        lambda app: (app / "golden/index.txt").write_text(""),
        "0 golden",
    ),
    "a label less": (lambda app: (app / "labels.txt").write_text("Bag\nShirt\n"), "2 labels"),
    "a model that is cut": (lambda app: (app / "vit.onnx").write_bytes(b"\x08\x0a"), "be opened"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "told"), SPOILED.values(), ids=SPOILED)
def test_what_is_spoiled_fails_its_tests(tmp_path, built, runtimes, spoil, told):
    app = tmp_path / "app"
    shutil.copytree(built, app, ignore=shutil.ignore_patterns("build"))
    spoil(app)
    call("cmake", "-S", app, "-B", app / "build", runtimes["onnx"])
    for name in ("classify", "golden"):
        shutil.copy2(built / "build" / name, app / "build" / name)
    failed = ctest(app, exit_code=None)
    assert re.search(f"FAILED .*{told}|Error: .*{told}", failed), failed


@pytest.mark.slow
def test_a_changed_mean_fails_its_tests(tmp_path, in_cpp, runtimes):
    app = tmp_path / "app"
    shutil.copytree(in_cpp, app)
    change_mean(app)
    build(app, runtimes["onnx"])
    assert re.search("FAILED .*input off", ctest(app, exit_code=None))


def rotated(path):
    image, exif = Image.new("L", (20, 30), 7), Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


BAD_IMAGES = {
    "text.png": lambda path: path.write_text("no image"),
    "empty.jpg": lambda path: path.write_bytes(b""),
    "cut.png": lambda path: path.write_bytes(PHOTO.read_bytes()[:5000]),
    "cut.ppm": lambda path: path.write_bytes(b"P6 20 20 255\n" + bytes(1199)),
    "cut.jpg": lambda path: path.write_bytes(jpeg()[: len(jpeg()) // 2]),
    "dark.ppm": lambda path: path.write_bytes(b"P5 2 2 15\n" + bytes(4)),
    "deep.png": lambda path: Image.fromarray(np.zeros((9, 9), np.uint16)).save(path),
    "turned.jpg": rotated,
    "turned.png": rotated,
    "huge.ppm": lambda path: path.write_bytes(b"P6 16000 16000 255\n"),
}


def jpeg():
    buffer = io.BytesIO()
    with Image.open(PHOTO) as image:
        image.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_refused_in_a_sentence(tmp_path, built, name):
    BAD_IMAGES[name](tmp_path / name)
    told = call(built / "build/classify", built / "vit.onnx", tmp_path / name, exit_code=1)
    assert told.startswith(f"Error: {tmp_path / name} ")
    assert len(told.splitlines()) == 1


@pytest.mark.slow
def test_other_bad_input_is_refused_in_a_sentence(tmp_path, built, in_cpp):
    classify, image = built / "build/classify", built / "golden/photo_cat.png"
    for model, told in (
        (tmp_path / "missing.onnx", "no such model file"),
        (image, "can't be opened"),
        (in_cpp / "vit.onnx", "has interface '1 normalized logits', this needs '1 levels top5'"),
    ):
        assert f"{model}" in call(classify, model, image, exit_code=1)
        assert told in call(classify, model, image, exit_code=1)
    call(classify, exit_code=2)
    call(classify, built / "vit.onnx", image, "--top", "many", exit_code=2)


def fuzzed(folder):
    """Image files whose first bytes, and some of the others, are not what they were."""
    random = np.random.default_rng(0)
    with Image.open(PHOTO) as image:
        small = image.resize((33, 21))
    for kind in ("PNG", "JPEG", "PPM", "BMP"):
        buffer = io.BytesIO()
        small.save(buffer, kind)
        for i in range(250):
            content = np.frombuffer(buffer.getvalue(), np.uint8).copy()
            header = random.integers(0, min(len(content), 200), random.integers(1, 6))
            content[header] = random.integers(0, 256, len(header))
            content = content[: random.integers(1, len(content) + 1) if i % 3 == 0 else None]
            path = folder / f"{i}.{kind.lower()}"
            path.write_bytes(content.tobytes())
            yield path


@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path, in_graph, runtimes, onnxruntime_root):
    app = tmp_path / "app"
    shutil.copytree(in_graph, app)
    build(app, runtimes["onnx"], f"-DCMAKE_CXX_FLAGS={SANITIZE}", "-DCMAKE_BUILD_TYPE=Debug")
    assert "100% tests passed" in ctest(app)
    decode = compiled(TESTS / "decode.cpp", app, onnxruntime_root, *SANITIZE.split())
    refusals = compiled(TESTS / "refusals.cpp", app, onnxruntime_root, *SANITIZE.split())
    assert call(refusals, app / "vit.onnx", env=NO_LEAKS).splitlines() == [
        "the image has 4 channels, the model takes 1",
        *["there is no image"] * 3,
        "3 classes",
    ]
    (tmp_path / "images").mkdir()
    files = list(fuzzed(tmp_path / "images"))
    told = call(decode, *files).splitlines()
    assert len(told) == len(files)
    assert 50 < sum(line.startswith("refused") for line in told) < len(files) - 50


def test_fp16_inputs_are_refused(tmp_path):
    artifact = tmp_path / "f.onnx"
    run("onnx", *TRAINED, "--precision", "fp16", "--io-fp16", "--out", artifact, "-q")
    told = refused("cpp", artifact, "--out", tmp_path / "app", "-q", exit_code=2)
    assert "--io-fp16" in told


INTERPOLATIONS = {"bilinear": 37, "bicubic": (33, 41), "lanczos": 40}


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_cpp_preprocesses_as_pillow_to_the_level(tmp_path, onnxruntime_root, interpolation):
    resize = INTERPOLATIONS[interpolation]
    toml = tmp_path / "m.toml"
    toml.write_text(
        "[vit]\nimage_size = [32, 24]\npatch_size = 8\nwidth = 24\ndepth = 1\nheads = 3\n"
        "classes = 5\n"
        f"[preprocessing]\nresize = {list(resize) if isinstance(resize, tuple) else resize}\n"
        f'crop = [32, 24]\ninterpolation = "{interpolation}"\n'
        "mean = [0.4, 0.5, 0.6]\nstd = [0.2, 0.25, 0.3]\n"
    )
    app = generated(tmp_path / "project", "onnx", "--model", toml)
    program = compiled(TESTS / "preprocess.cpp", app, onnxruntime_root)
    steps = Preprocessing(
        resize=resize,
        crop=(32, 24),
        interpolation=interpolation,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
    )
    random = np.random.default_rng(1)
    for height, width in [(32, 24), (7, 9), (240, 33), (33, 300), (1, 5), (481, 333), (61, 45)]:
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        command = [str(program), str(height), str(width)]
        done = subprocess.run(command, input=image.tobytes(), capture_output=True, check=True)
        found = np.frombuffer(done.stdout, np.float32).reshape(3, 32, 24)
        np.testing.assert_allclose(found, preprocess(Image.fromarray(image), steps), atol=1e-6)


@pytest.mark.slow
def test_a_colour_photo_is_grey_as_in_pillow(built):
    """Of a model of grey: the golden image is in colour, and nothing of it may be off."""
    told = ctest(built)
    assert "ok      photo_cat.png: input off by 0.000000" in told
    steps = dataclasses.replace(Preprocessing(resize=9, crop=(9, 9), mean=(0,) * 3, std=(1,) * 3))
    assert read_input(built / "golden" / "photo_cat.png", steps).std() > 0


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_without_the_runtime_cmake_says_what_to_do(tmp_path, onnxruntime_root, target):
    app = generated(tmp_path, target, *TRAINED)
    assert onnxruntime_root
    told = call("cmake", "-S", app, "-B", tmp_path / "build", exit_code=1)
    assert "was not found. Fix: -D" in " ".join(told.split())
