"""A generated C++ project compiles without a warning, and answers as eager PyTorch does."""

import re
import shutil
import subprocess
from operator import itemgetter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cpp_corpus import CORPUS, REFUSED, REFUSED_BY_STB, write_corpus
from cpp_images import BAD_IMAGES, GOOD_IMAGES, write_fuzzed_images
from cpp_projects import (
    DEBUG,
    GRAPH,
    MEAN,
    NO_LEAKS,
    SANITIZE,
    STD,
    TRAINED,
    build,
    call,
    compile_program,
    ctest,
    describe_small_model,
    generate,
    graph_build,
    in_colour,
    in_cpp,
    in_graph,
    onnxruntime_root,
    runtimes,
)
from masked_cpu import masked
from PIL import Image
from support import FASHION, run, run_json

from vit_export.codegen.golden import JPEG_ERROR
from vit_export.core.errors import RequestError
from vit_export.core.int8_sums import FITS, FITS_KEY
from vit_export.data.images import read_pixels
from vit_export.data.preprocessing import Preprocessing, preprocess
from vit_export.quantization import convert
from vit_export.quantization.schemes import Scheme

__all__ = ["graph_build", "in_colour", "in_cpp", "in_graph", "onnxruntime_root", "runtimes"]
"""Fixtures."""

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
SIZE_224 = ("--model", "vit_tiny_patch16_224")
STAGES = ["load", "decode", "warm up", "classify"]
"""What the program `classify` times."""

PROJECTS = {
    "onnx graph top5": ("onnx", (*TRAINED, *GRAPH, "--head", "top5")),
    "onnx graph int8": ("onnx", (*TRAINED, *GRAPH, "--precision", "int8")),
    "onnx cpp": ("onnx", TRAINED),
    "onnx graph 224 softmax": ("onnx", (*SIZE_224, *GRAPH, "--head", "softmax")),
    "onnx cpp 224": ("onnx", SIZE_224),
    "torchscript cpp 224": ("torchscript", SIZE_224),
}
OUTPUTS = ("--outputs", "token,patches,logits,layers:1,2,attentions:2")
TENSORS = {
    "onnx graph": ("onnx", (*TRAINED, *GRAPH, *OUTPUTS)),
    "onnx cpp int8": ("onnx", (*TRAINED, *OUTPUTS, "--precision", "int8")),
    "torchscript": ("torchscript", (*TRAINED, *OUTPUTS)),
    "features": ("onnx", (*TRAINED, "--outputs", "features")),
}
"""Projects whose program answers named outputs."""
NAMED = ["token", "patches", "logits", "layer_1", "layer_2", "attention_2"]


MULTI_LABEL = ("--problem-type", "multi_label")
PROBLEM_TYPES = {
    "multi-label int8": (*MULTI_LABEL, "--precision", "int8"),
    "multi-label sigmoid": (*GRAPH, *MULTI_LABEL, "--head", "sigmoid"),
    "multi-label top5": (*GRAPH, *MULTI_LABEL, "--head", "top5"),
    "regression": ("--problem-type", "regression"),
}


@pytest.mark.parametrize("options", PROBLEM_TYPES.values(), ids=PROBLEM_TYPES)
def test_a_program_answers_what_the_logits_are_for(tmp_path, runtimes, options):
    app = generate(tmp_path, "onnx", *TRAINED, *options)
    build(app, runtimes["onnx"], DEBUG)
    output = ctest(app)
    assert "100% tests passed" in output
    assert output.count("answer off by") == 18
    image = FASHION / "images" / "bag_1.png"
    lines = call(app / "build/classify", app / "vit.onnx", image)
    (expected,) = run_json("predict", app / "vit.onnx", image)
    if "regression" in options:
        rows = re.findall(r"^(\S+)  output (\d)$", lines, re.MULTILINE)
        assert [index for _, index in rows] == [*"0123456789"]
        assert [float(value) for value, _ in rows] == pytest.approx(expected["values"], rel=1e-4)
    else:
        rows = re.findall(r"^ *([\d.]+)%  class \d$", lines, re.MULTILINE)
        shares = [100 * one for one in expected["probabilities"]]
        assert [float(share) for share in rows] == pytest.approx(shares, abs=0.02)
        assert sum(shares) > 101


@pytest.mark.parametrize(("target", "export"), PROJECTS.values(), ids=PROJECTS)
def test_a_project_builds_and_passes_its_tests(tmp_path, runtimes, target, export):
    app = generate(tmp_path, target, *export)
    build(app, runtimes[target])  # a warning of g++ is an error here
    output = ctest(app)
    assert "100% tests passed" in output
    assert output.count("answer off by") == 18
    assert "FAILED" not in output


@pytest.mark.parametrize(("target", "export"), TENSORS.values(), ids=TENSORS)
def test_a_program_answers_named_outputs(tmp_path, runtimes, target, export):
    app = generate(tmp_path, target, *export)
    build(app, runtimes[target])
    output = ctest(app)
    assert "100% tests passed" in output
    names = ["features"] if "features" in export else NAMED
    assert [output.count(f": {name} off by") for name in names] == [9] * len(names)
    damage_output(app)
    assert "FAILED" in ctest(app, exit_code=None)


def damage_output(app):
    """Change the last number of the last output of one golden answer."""
    path = app / "golden" / "0.png.outputs"
    answer = np.fromfile(path, "<f4")
    answer[-1] += 1000
    answer.tofile(path)


@pytest.fixture(scope="module")
def cpp_build(shared_folder, in_cpp, runtimes):
    def fill(folder):
        build(shutil.copytree(in_cpp, folder / "app"), runtimes["onnx"])

    return shared_folder("cpp-cpp-build", fill) / "app"


def classify_all(app, env=None):
    """The probability of every class in percent, for each shipped image."""
    images = sorted((FASHION / "images").glob("*.png"))
    words = app / "build/classify", app / "vit.onnx"
    outputs = [call(*words, image, "--top", 10, env=env) for image in images]
    shares = [re.findall(r"^ *([\d.]+)%  class (\d)$", one, re.MULTILINE) for one in outputs]
    return np.array(
        [[float(share) for share, _ in sorted(one, key=itemgetter(1))] for one in shares]
    )


def test_a_file_whose_sums_saturate_is_opened_with_the_exact_option(
    tmp_path, runtimes, cpu_mask, monkeypatch
):
    """As vit-export wrote int8 files before it limited pairs of weights."""
    monkeypatch.setattr(Scheme, "limits_pairs", False)
    monkeypatch.setattr(convert, "find_saturating", lambda _: ())
    app = generate(tmp_path, "onnx", *TRAINED, "--precision", "int8")
    build(app, runtimes["onnx"])
    native, avx2 = classify_all(app), masked(cpu_mask, "avx2")
    assert np.abs(classify_all(app, avx2) - native).max() < 0.05
    model = onnx.load(app / "vit.onnx")
    model.metadata_props.add(key=FITS_KEY, value=FITS)  # a lie
    onnx.save(model, app / "vit.onnx")
    assert np.abs(classify_all(app, avx2) - native).max() > 0.2


def test_classify_answers_as_predict(graph_build):
    expected = run_json("predict", graph_build / "vit.onnx", FASHION / "images" / "bag_1.png")[0]
    image, labels = FASHION / "images" / "bag_1.png", graph_build / "labels.txt"
    more = ("--top", 3, "--labels", labels, "--warm-up", 2)
    output = call(graph_build / "build/classify", graph_build / "vit.onnx", image, *more)
    assert re.findall(r"^(.*) [\d.]+ ms$", output, re.MULTILINE) == STAGES
    classes = re.findall(r"^ *([\d.]+)%  (.*)$", output, re.MULTILINE)
    assert [name for _, name in classes] == expected["classes"][:3]
    for (share, _), probability in zip(classes, expected["probabilities"], strict=False):
        assert float(share) == pytest.approx(100 * probability, abs=0.006)


def put_nan(path):
    numbers = np.fromfile(path, np.float32)
    numbers[len(numbers) // 2] = np.nan
    numbers.tofile(path)


def corrupt(path, at=0):
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def change_mean(app):
    header = app / "vit.hpp"
    header.write_text(header.read_text().replace("kMean[] = {0.286F}", "kMean[] = {0.296F}"))


DAMAGES = {
    "a golden input": (lambda app: corrupt(app / "golden/1.png.input", 99), "input off"),
    "golden logits": (lambda app: corrupt(app / "golden/1.png.logits", 3), "answer off"),
    "logits that are NaN": (
        lambda app: put_nan(app / "golden/1.png.logits"),
        "holds NaN or infinity",
    ),
    "a golden file that is cut": (
        lambda app: (app / "golden/1.png.logits").write_bytes(b"1234"),
        "another length",
    ),
    "a golden index that is cut": (
        lambda app: (app / "golden/index.txt").write_text(""),
        "0 golden",
    ),
    "a label less": (lambda app: (app / "labels.txt").write_text("Bag\nShirt\n"), "2 labels"),
    "a model that is cut": (lambda app: (app / "vit.onnx").write_bytes(b"\x08\x0a"), "be opened"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_project_fails_its_tests(tmp_path, graph_build, runtimes, damage, message):
    app = tmp_path / "app"
    shutil.copytree(graph_build, app, ignore=shutil.ignore_patterns("build"))
    damage(app)
    call("cmake", "-S", app, "-B", app / "build", runtimes["onnx"])
    for name in ("classify", "golden"):
        shutil.copy2(graph_build / "build" / name, app / "build" / name)
    failed = ctest(app, exit_code=None)
    assert re.search(f"FAILED .*{message}|Error: .*{message}", failed), failed


@pytest.mark.parametrize("kind", ["input", "logits"])
def test_nan_fails_the_tests_of_a_project(tmp_path, cpp_build, kind):
    golden = tmp_path / "golden"
    shutil.copytree(cpp_build / "golden", golden)
    put_nan(golden / f"1.png.{kind}")
    command = (cpp_build / "build/golden", cpp_build / "vit.onnx", golden)
    output = call(*command, cpp_build / "labels.txt", exit_code=1)
    assert f"1.png.{kind} holds NaN or infinity" in output


def test_a_changed_mean_fails_the_tests_of_a_project(tmp_path, in_cpp, runtimes):
    app = tmp_path / "app"
    shutil.copytree(in_cpp, app)
    change_mean(app)
    build(app, runtimes["onnx"])
    assert re.search("FAILED .*input off", ctest(app, exit_code=None))


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_refused_in_one_line(tmp_path, graph_build, name):
    BAD_IMAGES[name](tmp_path / name)
    output = call(
        graph_build / "build/classify", graph_build / "vit.onnx", tmp_path / name, exit_code=1
    )
    loaded, error = output.splitlines()
    assert loaded.startswith("load ")
    assert re.match(f"Error: {tmp_path / name}:? ", error)


@pytest.fixture(scope="module")
def decoders(shared_folder, in_graph, in_colour, onnxruntime_root):
    """Programs that read images, under sanitizers, by decoder and mode of the model's images."""
    apps = {"L": in_graph, "RGB": in_colour}
    programs = [(decoder, mode) for decoder in ("libraries", "stb") for mode in apps]

    def fill(folder):
        for decoder, mode in programs:
            options = {"out": folder / f"{decoder}-{mode}", "decoder": decoder}
            words = (TESTS / "decode.cpp", apps[mode], onnxruntime_root, *SANITIZE.split())
            compile_program(*words, **options)

    folder = shared_folder("cpp-decoders", fill)
    return {program: folder / "-".join(program) for program in programs}


PYTHON_REFUSES = "Python refuses it"


def compare_with_pillow(program, mode, paths):
    """Return what became of each file: `read`, `refused`, or a difference that may not be."""
    size = {"mean": (0.0,) * len(mode), "std": (1.0,) * len(mode)}
    preprocessing = Preprocessing(mode=mode, resize=9, crop=(9, 9), **size)
    lines = call(program, *paths, env=NO_LEAKS).splitlines()
    assert len(lines) == len(paths)
    return {
        path.name: _compare(path, line, preprocessing)
        for path, line in zip(paths, lines, strict=True)
    }


def _compare(path, line, preprocessing):
    if not line.startswith("read "):
        assert re.match(rf"refused {re.escape(str(path))}:? \w", line), line  # with a reason
        return "refused"
    try:
        expected = read_pixels(path, preprocessing)
    except RequestError as error:
        if "elongated" in error.message:  # decoded well; the resize refuses it later
            return "read"
        return PYTHON_REFUSES
    pixels = np.fromfile(f"{path}.levels", np.uint8)
    if pixels.size != expected.size:
        return f"{pixels.size} numbers in place of {expected.size}"
    error = np.abs(pixels.astype(int) - expected.ravel()).max()
    jpeg = path.read_bytes()[:2] == b"\xff\xd8"
    return "read" if error <= (JPEG_ERROR if jpeg else 0) else f"off by {error}"


@pytest.mark.parametrize("decoder", ["libraries", "stb"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_file_is_read_as_in_pillow_or_refused(tmp_path, decoders, mode, decoder):
    """Intact, odd, cut and changed files of all formats that C++ reads."""
    paths = [*write_corpus(tmp_path), *write_fuzzed_images(tmp_path)]
    outcome = compare_with_pillow(decoders[decoder, mode], mode, paths)
    wrong = {name: one for name, one in outcome.items() if one not in {"read", "refused"}}
    assert not wrong
    refused = {name for name in CORPUS if outcome[name] == "refused"}
    assert refused == REFUSED | (REFUSED_BY_STB if decoder == "stb" else set())


@pytest.mark.parametrize("decoder", ["libraries", "stb"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_has_the_same_pixels_as_in_pillow(tmp_path, decoders, mode, decoder):
    size = {"mean": (0.0,) * len(mode), "std": (1.0,) * len(mode)}
    preprocessing = Preprocessing(mode=mode, resize=9, crop=(9, 9), **size)
    for name, write in GOOD_IMAGES.items():
        write(tmp_path / name)
        program = decoders[decoder, mode]
        assert call(program, tmp_path / name, env=NO_LEAKS).startswith("read "), name
        pixels = np.fromfile(tmp_path / f"{name}.levels", np.uint8)
        expected = read_pixels(tmp_path / name, preprocessing)
        np.testing.assert_array_equal(pixels, expected.ravel(), err_msg=name)


def test_other_bad_input_is_refused_in_one_line(tmp_path, graph_build, in_cpp):
    three_classes, toml = (
        tmp_path / "three.onnx",
        describe_small_model(tmp_path, mode="L", classes=3),
    )
    request = ("--model", toml, *GRAPH, "--head", "top5")
    run("onnx", *request, "--out", three_classes, "-q")
    classify, image = graph_build / "build/classify", graph_build / "golden/1.png"
    for model, message in (
        (tmp_path / "missing.onnx", "no such model file"),
        (image, "can't be opened"),
        (in_cpp / "vit.onnx", "has interface '2 normalized logits 10', this needs"),
        (three_classes, "has interface '2 levels top5 3', this needs '2 levels top5 10'"),
    ):
        assert f"{model}" in call(classify, model, image, exit_code=1)
        assert message in call(classify, model, image, exit_code=1)
    call(classify, exit_code=2)
    for words in (("--top", "many"), ("--top", "3x"), ("--top", "0"), ("--warm-up", "-1")):
        assert "give MODEL IMAGE" in call(
            classify, graph_build / "vit.onnx", image, *words, exit_code=2
        )
    missing = (classify, graph_build / "vit.onnx", image, "--labels", tmp_path / "labels.txt")
    assert "labels.txt: no such label file" in call(*missing, exit_code=1)
    model = onnx.load(three_classes)
    (prop,) = (one for one in model.metadata_props if one.key == "vit_export_interface")
    prop.value = "2 levels top5 10"
    onnx.save(model, three_classes)
    assert "another number of classes" in call(classify, three_classes, image, exit_code=1)


def test_labels_may_have_windows_line_ends(tmp_path, graph_build):
    labels = tmp_path / "labels.txt"
    labels.write_bytes((graph_build / "labels.txt").read_bytes().replace(b"\n", b"\r\n"))
    command = (
        graph_build / "build/classify",
        graph_build / "vit.onnx",
        graph_build / "golden/1.png",
    )
    assert (
        b"\r"
        not in subprocess.run(
            [*command, "--labels", labels], capture_output=True, check=True
        ).stdout
    )


def test_another_root_selects_another_runtime(tmp_path, in_graph, onnxruntime_root):
    """An existing build folder follows the new root."""
    other = tmp_path / "other"
    shutil.copytree(onnxruntime_root, other, symlinks=True)
    for root in (onnxruntime_root, other):
        call("cmake", "-S", in_graph, "-B", tmp_path / "build", f"-DONNXRUNTIME_ROOT={root}")
    commands = (tmp_path / "build/CMakeFiles/fashion_mnist_classify.dir/link.txt").read_text()
    assert str(other / "lib") in commands
    assert str(onnxruntime_root / "lib") not in commands


@pytest.fixture(scope="module")
def torchscript_build(shared_folder, runtimes):
    def fill(folder):
        app = generate(folder, "torchscript", *TRAINED, *GRAPH, "--head", "top5")
        build(app, runtimes["torchscript"])

    return shared_folder("cpp-torchscript-build", fill) / "app"


def test_a_project_of_torchscript_passes_its_tests(torchscript_build):
    output = ctest(torchscript_build)
    assert "100% tests passed" in output
    assert output.count("answer off by") == 18
    assert "FAILED" not in output


def save_foreign(path):
    with pytest.deprecated_call():
        torch.jit.trace(torch.nn.Identity(), torch.zeros(1)).save(path)


BAD_TORCHSCRIPT = {
    "missing": lambda _: None,
    "cut": lambda path: path.write_bytes(path.with_name("vit.pt").read_bytes()[:5000]),
    "text": lambda path: path.write_text("no model"),
    "empty": lambda path: path.write_bytes(b""),
    "folder": Path.mkdir,
    "foreign": lambda path: save_foreign(str(path)),
    "state_dict": lambda path: torch.save({"weight": torch.zeros(3)}, path),
}


def test_libtorch_refuses_bad_files_in_one_line(torchscript_build):
    for name, write in BAD_TORCHSCRIPT.items():
        path = torchscript_build / f"{name}.pt"
        write(path)
        command = (torchscript_build / "build/classify", path)
        output = call(*command, torchscript_build / "golden/1.png", exit_code=1)
        assert output.startswith(f"Error: {path}"), output
        assert len(output.splitlines()) < 4, output


def test_sanitizers_find_nothing(tmp_path, in_graph, runtimes, onnxruntime_root):
    app = tmp_path / "app"
    shutil.copytree(in_graph, app)
    build(app, runtimes["onnx"], f"-DCMAKE_CXX_FLAGS={SANITIZE}", "-DCMAKE_BUILD_TYPE=Debug")
    assert "100% tests passed" in ctest(app)
    refusals = compile_program(TESTS / "refusals.cpp", app, onnxruntime_root, *SANITIZE.split())
    assert call(refusals, app / "vit.onnx", env=NO_LEAKS).splitlines() == [
        "the image has 4 channels, the model takes 1",
        *["there is no image"] * 3,
        "3 classes",
    ]


INTERPOLATIONS = {"bilinear": 37, "bicubic": (33, 41), "lanczos": 40}


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_cpp_computes_the_same_pixels_as_pillow(tmp_path, onnxruntime_root, interpolation):
    resize = INTERPOLATIONS[interpolation]
    toml = describe_small_model(tmp_path, resize, interpolation=interpolation)
    app = generate(tmp_path / "project", "onnx", "--model", toml)
    program = compile_program(TESTS / "preprocess.cpp", app, onnxruntime_root)
    preprocessing = Preprocessing(
        resize=resize,
        crop=(32, 24),
        interpolation=interpolation,
        mean=MEAN,
        std=STD,
    )
    random = np.random.default_rng(1)
    for height, width in [(32, 24), (7, 9), (240, 33), (33, 300), (1, 5), (481, 333), (61, 45)]:
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        command = [str(program), str(height), str(width)]
        done = subprocess.run(command, input=image.tobytes(), capture_output=True, check=True)
        numbers = np.frombuffer(done.stdout, np.float32).reshape(3, 32, 24)
        expected = preprocess(Image.fromarray(image), preprocessing)
        np.testing.assert_allclose(numbers, expected, atol=1e-6)


def test_a_colour_photo_is_grey_as_in_pillow(graph_build):
    """The golden image is in colour, and the model takes grey: its input is exactly Pillow's."""
    output = ctest(graph_build)
    assert "ok      1.png: input off by 0.000000" in output
    with Image.open(graph_build / "golden" / "1.png") as image:
        assert image.mode == "RGB"
        assert np.asarray(image).std(axis=2).max() > 10


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_cmake_advises_when_the_runtime_is_missing(tmp_path, onnxruntime_root, target):
    app = generate(tmp_path, target, *TRAINED)
    assert onnxruntime_root
    output = call("cmake", "-S", app, "-B", tmp_path / "build", exit_code=1)
    assert "was not found. Fix: -D" in " ".join(output.split())
