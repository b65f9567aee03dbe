"""A generated C++ project compiles without a warning and answers as eager PyTorch: for real."""

import io
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import PIL
import pytest
import torch
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
from PIL import Image, PngImagePlugin
from support import FASHION, ROOT, need, refused, run, run_json

from vit_export.data.images import read_pixels
from vit_export.data.pillow_resize import columns_may_come_first
from vit_export.data.preprocessing import Preprocessing, preprocess

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
PHOTO = ROOT / "vit_export" / "data" / "photos" / "cat.png"


@pytest.fixture(scope="module")
def in_graph(tmp_path_factory):
    """A project of the trained model that resizes in its file; tests that change it take a copy."""
    return generated(tmp_path_factory.mktemp("graph"), "onnx", *TRAINED, *GRAPH, "--head", "top5")


@pytest.fixture(scope="module")
def in_cpp(tmp_path_factory):
    """The same that resizes in C++."""
    return generated(tmp_path_factory.mktemp("cpp"), "onnx", *TRAINED)


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def small(folder, resize=37, *, preprocessing=True, mode="RGB", classes=5, **steps):
    """A description of a small model, which resizes by bicubic if no `steps` say otherwise."""
    vit = {"image_size": [32, 24], "patch_size": 8, "width": 24, "depth": 1, "heads": 3}
    steps = {"resize": resize, "crop": [32, 24], "interpolation": "bicubic", "mode": mode, **steps}
    steps |= {"mean": [*MEAN[: len(mode)]], "std": [*STD[: len(mode)]]}
    tables = {"vit": vit | {"channels": len(mode), "classes": classes}}
    tables |= {"preprocessing": steps} if preprocessing else {}
    lines = [
        line
        for name, table in tables.items()
        for line in (f"[{name}]", *(f"{key} = {json.dumps(one)}" for key, one in table.items()))
    ]
    toml = folder / "small.toml"
    toml.write_text("\n".join(lines) + "\n")
    return toml


@pytest.fixture(scope="module")
def in_colour(tmp_path_factory):
    """The longest of all: of a model of colour, that resizes in C++ by bicubic."""
    folder = tmp_path_factory.mktemp("colour")
    return generated(folder, "onnx", "--model", small(folder))


def test_what_is_written(in_graph):
    found = {path.relative_to(in_graph).as_posix() for path in in_graph.rglob("*")}
    assert FILES | {"vit.onnx"} <= found
    assert (in_graph / "labels.txt").read_text() == (FASHION / "labels.txt").read_text()
    index = (in_graph / "golden/index.txt").read_text().splitlines()
    images = [line.split()[0] for line in index]
    assert {Path(name).suffix for name in images} == {".jpg", ".png", ".ppm"}
    for name in images:
        assert (in_graph / "golden" / f"{name}.input").stat().st_size > 0


@pytest.fixture(scope="module")
def in_graph_logits(tmp_path_factory):
    """A project whose model file resizes and answers logits, as `--preprocess graph` has it."""
    return generated(tmp_path_factory.mktemp("logits"), "onnx", *TRAINED, *GRAPH)


LINES = {"in_graph": 400, "in_graph_logits": 400, "in_cpp": 470, "in_colour": 470}
"""What C++ and CMake stay below in all, blank lines and comments included."""
CODE_LINES = 400
"""What they stay below without these."""


@pytest.mark.parametrize("place", LINES)
def test_what_is_written_reads_as_if_by_hand(request, place):
    app = request.getfixturevalue(place)
    for name in (*SOURCES, "README.md"):
        text = (app / name).read_text()
        assert not re.search(r"@\{|\}@|\{%|%\}|\n\n\n|[ \t]\n", text), name
        assert max(map(len, text.splitlines())) <= 130, name
    lines = [line for name in SOURCES for line in (app / name).read_text().splitlines()]
    assert len(lines) < LINES[place]
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("//")]
    assert len(code) < CODE_LINES


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


def test_the_commands_are_what_a_shell_takes(tmp_path, in_graph):
    told = run_json("cpp", in_graph / "vit.onnx", "--out", tmp_path / "my app", "-q")
    words = [shlex.split(command) for command in told["commands"]]
    assert words[0][:5] == ["cmake", "-S", str(tmp_path / "my app"), "-B", words[1][2]]
    assert words[1][2] == words[2][2] == str(tmp_path / "my app" / "build")


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
    "nearest": (("--interpolation", "nearest"), (), "export it with --interpolation"),
}


@pytest.mark.parametrize(("export", "arguments", "told"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(tmp_path, export, arguments, told):
    artifact, out = tmp_path / "f.onnx", tmp_path / "app"
    run("onnx", *TRAINED, *export, "--out", artifact, "-q")
    assert told in refused("cpp", artifact, "--out", out, "-q", *arguments, exit_code=2)
    assert not out.exists()


def test_without_preprocessing(tmp_path):
    artifact = tmp_path / "f.onnx"
    run("onnx", "--model", small(tmp_path, preprocessing=False), "--out", artifact, "-q")
    told = refused("cpp", artifact, "--out", tmp_path / "app", "-q", exit_code=2)
    assert "export it with --mean, --std and --resize." in told


def of_another_pillow(path, to):
    """The same artifact, as if it were made with a Pillow that begins with the other passes."""
    model = onnx.load(path)
    (prop,) = (one for one in model.metadata_props if one.key == "vit_export")
    manifest = json.loads(prop.value)
    first = columns_may_come_first(PIL.__version__)
    manifest["versions"]["pillow"] = "11.3.0" if first else "13.0.0"
    prop.value = json.dumps(manifest)
    onnx.save(model, to)
    return to


def test_cpp_resizes_as_the_pillow_that_makes_its_golden_inputs(tmp_path, in_cpp):
    other = of_another_pillow(in_cpp / "vit.onnx", tmp_path / "f.onnx")
    run("cpp", other, "--out", tmp_path / "app", "-q")
    assert (tmp_path / "app/vit.hpp").read_text() == (in_cpp / "vit.hpp").read_text()


def test_weights_judge_no_file_that_resizes_as_another_pillow(tmp_path, in_graph):
    other = of_another_pillow(in_graph / "vit.onnx", tmp_path / "f.onnx")
    weights = FASHION / "fashion_mnist.safetensors"
    asked = ("cpp", other, "--out", tmp_path / "app", "-q")
    assert "resizes as Pillow" in refused(*asked, "--weights", weights, exit_code=2)
    run(*asked)


def test_a_model_whose_data_has_another_name(tmp_path, in_cpp):
    """Where it lies it opens, and is the model: its copy is what has to."""
    model, data = onnx.load(in_cpp / "vit.onnx"), "f.onnx.0123456789ab.data"
    external = {"save_as_external_data": True, "location": data}
    onnx.save(model, tmp_path / "f.onnx", **external)
    run("cpp", tmp_path / "f.onnx", "--out", tmp_path / "app", "-q")
    assert (tmp_path / "app" / data).exists()
    (tmp_path / "f.onnx").rename(tmp_path / "h.onnx")
    told = refused("cpp", tmp_path / "h.onnx", "--out", tmp_path / "other", "-q", exit_code=2)
    assert "its .data file too" in told
    assert not (tmp_path / "other").exists()


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


@pytest.fixture(scope="module")
def built_in_cpp(tmp_path_factory, in_cpp, runtimes):
    app = tmp_path_factory.mktemp("built_in_cpp") / "app"
    shutil.copytree(in_cpp, app)
    build(app, runtimes["onnx"])
    return app


@pytest.mark.slow
def test_it_answers_as_predict(built):
    expected = run_json("predict", built / "vit.onnx", FASHION / "images" / "bag_1.png")[0]
    image, labels = FASHION / "images" / "bag_1.png", built / "labels.txt"
    more = ("--top", 3, "--labels", labels, "--warm-up", 2)
    told = call(built / "build/classify", built / "vit.onnx", image, *more)
    assert re.findall(r"^(.*) [\d.]+ ms$", told, re.MULTILINE) == STAGES
    found = re.findall(r"^ *([\d.]+)%  (.*)$", told, re.MULTILINE)
    assert [name for _, name in found] == expected["classes"][:3]
    for (share, _), probability in zip(found, expected["probabilities"], strict=False):
        assert float(share) == pytest.approx(100 * probability, abs=0.006)


STAGES = ["load", "decode", "warm up", "classify"]


def not_a_number(path):
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


SPOILED = {
    "a golden input": (lambda app: corrupt(app / "golden/photo_cat.png.input", 99), "input off"),
    "golden logits": (lambda app: corrupt(app / "golden/photo_cat.png.logits", 3), "answer off"),
    "logits that are no number": (
        lambda app: not_a_number(app / "golden/photo_cat.png.logits"),
        "no number",
    ),
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
@pytest.mark.parametrize("kind", ["input", "logits"])
def test_what_is_no_number_fails_its_tests(tmp_path, built_in_cpp, kind):
    golden = tmp_path / "golden"
    shutil.copytree(built_in_cpp / "golden", golden)
    not_a_number(golden / f"photo_cat.png.{kind}")
    command = (built_in_cpp / "build/golden", built_in_cpp / "vit.onnx", golden)
    told = call(*command, built_in_cpp / "labels.txt", exit_code=1)
    assert f"photo_cat.png.{kind} holds what is no number" in told


@pytest.mark.slow
def test_a_changed_mean_fails_its_tests(tmp_path, in_cpp, runtimes):
    app = tmp_path / "app"
    shutil.copytree(in_cpp, app)
    change_mean(app)
    build(app, runtimes["onnx"])
    assert re.search("FAILED .*input off", ctest(app, exit_code=None))


def held(path, orientation=6):
    """An image whose EXIF data says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo((20, 30)).save(path, exif=exif)


def with_xmp(path, mark):
    """The same said in XMP, as an attribute or as an element."""
    text = f"<rdf:Description {mark}</rdf:Description>"
    if path.suffix == ".jpg":
        photo((20, 30)).save(path, xmp=text.encode())
        return
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", text)
    photo((20, 30)).save(path, pnginfo=chunks)


def with_exif_as_text(path):
    """The same as ImageMagick writes it."""
    exif, chunks = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    chunks.add_text("Raw profile type exif", f"\nexif\n{99:8}\n{exif.tobytes().hex()}\n", zip=True)
    photo((20, 30)).save(path, pnginfo=chunks)


def photo(size):
    with Image.open(PHOTO) as image:
        return image.resize(size)


BAD_IMAGES = {
    "text.png": lambda path: path.write_text("no image"),
    "empty.jpg": lambda path: path.write_bytes(b""),
    "cut.png": lambda path: path.write_bytes(PHOTO.read_bytes()[:5000]),
    "cut.ppm": lambda path: path.write_bytes(b"P6 20 20 255\n" + bytes(1199)),
    "cut.jpg": lambda path: path.write_bytes(jpeg()[: len(jpeg()) // 2]),
    "dark.ppm": lambda path: path.write_bytes(b"P5 2 2 15\n" + bytes(4)),
    "deep.png": lambda path: Image.fromarray(np.zeros((9, 9), np.uint16)).save(path),
    "bare.pgm": lambda path: path.write_bytes(b"P5 2 3 255"),
    "turned.jpg": held,
    "turned.png": held,
    "attribute.jpg": lambda path: with_xmp(path, 'tiff:Orientation="6">'),
    "element.jpg": lambda path: with_xmp(path, "><tiff:Orientation>8</tiff:Orientation>"),
    "attribute.png": lambda path: with_xmp(path, 'tiff:Orientation="3">'),
    "text_of_exif.png": with_exif_as_text,
    "other.gif": lambda path: photo((9, 9)).save(path),
    "other.hdr": lambda path: path.write_bytes(
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 2\n" + bytes(16)
    ),
    "folder.png": Path.mkdir,
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
    loaded, error = told.splitlines()
    assert loaded.startswith("load ")
    assert re.match(f"Error: {tmp_path / name}:? ", error)


def with_comments(path):
    levels = photo((5, 4)).tobytes()
    path.write_bytes(b"P6\n# Created by GIMP\n# again\n5 # wide\n4\n255\n" + levels)


GOOD_IMAGES = {
    "palette.png": lambda path: photo((33, 21)).quantize(17).save(path),
    "clear_palette.png": lambda path: photo((33, 21)).quantize(17).save(path, transparency=3),
    "alpha.png": lambda path: half_clear().save(path),
    "grey_alpha.png": lambda path: half_clear().convert("LA").save(path),
    "clear_grey.png": lambda path: photo((33, 21)).convert("L").save(path, transparency=99),
    "clear_colour.png": lambda path: photo((33, 21)).save(path, transparency=(1, 2, 3)),
    "one_bit.png": lambda path: photo((33, 21)).convert("1").save(path),
    "one_pixel.png": lambda path: photo((1, 1)).save(path),
    "upright.png": lambda path: held(path, 1),
    "unknown.png": lambda path: held(path, 0),
    "upright_xmp.png": lambda path: with_xmp(path, 'tiff:Orientation="1">'),
    "comments.ppm": with_comments,
    "grey.pgm": lambda path: photo((33, 21)).convert("L").save(path),
    "colour.bmp": lambda path: photo((33, 21)).save(path),
    "grey.bmp": lambda path: photo((33, 21)).convert("L").save(path),
}


def half_clear():
    image = photo((33, 21))
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


@pytest.fixture(scope="module")
def decoders(in_graph, in_colour, onnxruntime_root):
    """What reads images for a model of grey, and for one of colour."""
    apps = {"L": in_graph, "RGB": in_colour}
    return {
        mode: compiled(TESTS / "decode.cpp", app, onnxruntime_root) for mode, app in apps.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_has_the_levels_it_has_in_pillow(tmp_path, decoders, mode):
    size = {"mean": (0.0,) * len(mode), "std": (1.0,) * len(mode)}
    steps = Preprocessing(mode=mode, resize=9, crop=(9, 9), **size)
    for name, write in GOOD_IMAGES.items():
        write(tmp_path / name)
        assert call(decoders[mode], tmp_path / name).startswith("read "), name
        found = np.fromfile(tmp_path / f"{name}.levels", np.uint8)
        expected = read_pixels(tmp_path / name, steps)
        np.testing.assert_array_equal(found, expected.ravel(), err_msg=name)


@pytest.mark.slow
def test_other_bad_input_is_refused_in_a_sentence(tmp_path, built, in_cpp):
    of_three_classes, toml = tmp_path / "three.onnx", small(tmp_path, mode="L", classes=3)
    asked = ("--model", toml, *GRAPH, "--head", "top5")
    run("onnx", *asked, "--out", of_three_classes, "-q")
    classify, image = built / "build/classify", built / "golden/photo_cat.png"
    for model, told in (
        (tmp_path / "missing.onnx", "no such model file"),
        (image, "can't be opened"),
        (in_cpp / "vit.onnx", "has interface '2 normalized logits 10', this needs"),
        (of_three_classes, "has interface '2 levels top5 3', this needs '2 levels top5 10'"),
    ):
        assert f"{model}" in call(classify, model, image, exit_code=1)
        assert told in call(classify, model, image, exit_code=1)
    call(classify, exit_code=2)
    for words in (("--top", "many"), ("--top", "3x"), ("--top", "0"), ("--warm-up", "-1")):
        assert "give MODEL IMAGE" in call(classify, built / "vit.onnx", image, *words, exit_code=2)
    missing = (classify, built / "vit.onnx", image, "--labels", tmp_path / "labels.txt")
    assert "labels.txt: no such label file" in call(*missing, exit_code=1)
    model = onnx.load(of_three_classes)
    (prop,) = (one for one in model.metadata_props if one.key == "vit_export_interface")
    prop.value = "2 levels top5 10"
    onnx.save(model, of_three_classes)
    assert "another number of classes" in call(classify, of_three_classes, image, exit_code=1)


@pytest.mark.slow
def test_labels_of_windows(tmp_path, built):
    labels = tmp_path / "labels.txt"
    labels.write_bytes((built / "labels.txt").read_bytes().replace(b"\n", b"\r\n"))
    command = (built / "build/classify", built / "vit.onnx", built / "golden/photo_cat.png")
    assert (
        b"\r"
        not in subprocess.run(
            [*command, "--labels", labels], capture_output=True, check=True
        ).stdout
    )


@pytest.mark.slow
def test_another_root_is_another_runtime(tmp_path, in_graph, onnxruntime_root):
    """A build folder that is there follows what is given."""
    other = tmp_path / "other"
    shutil.copytree(onnxruntime_root, other, symlinks=True)
    for root in (onnxruntime_root, other):
        call("cmake", "-S", in_graph, "-B", tmp_path / "build", f"-DONNXRUNTIME_ROOT={root}")
    commands = (tmp_path / "build/CMakeFiles/classify.dir/link.txt").read_text()
    assert str(other / "lib") in commands
    assert str(onnxruntime_root / "lib") not in commands


@pytest.fixture(scope="module")
def built_torchscript(tmp_path_factory, runtimes):
    folder = tmp_path_factory.mktemp("torchscript")
    app = generated(folder, "torchscript", *TRAINED, *GRAPH, "--head", "top5")
    build(app, runtimes["torchscript"])
    return app


@pytest.mark.slow
def test_a_project_of_torchscript_passes_its_tests(built_torchscript):
    told = ctest(built_torchscript)
    assert "100% tests passed" in told
    assert told.count("answer off by") == 18
    assert "FAILED" not in told


def foreign(path):
    with pytest.deprecated_call():
        torch.jit.trace(torch.nn.Identity(), torch.zeros(1)).save(path)


BAD_TORCHSCRIPT = {
    "missing": lambda _: None,
    "cut": lambda path: path.write_bytes(path.with_name("vit.pt").read_bytes()[:5000]),
    "text": lambda path: path.write_text("no model"),
    "empty": lambda path: path.write_bytes(b""),
    "folder": Path.mkdir,
    "foreign": lambda path: foreign(str(path)),
    "state_dict": lambda path: torch.save({"weight": torch.zeros(3)}, path),
}


@pytest.mark.slow
def test_libtorch_refuses_in_a_sentence(built_torchscript):
    for name, write in BAD_TORCHSCRIPT.items():
        path = built_torchscript / f"{name}.pt"
        write(path)
        command = (built_torchscript / "build/classify", path)
        told = call(*command, built_torchscript / "golden/photo_cat.png", exit_code=1)
        assert told.startswith(f"Error: {path}"), told
        assert len(told.splitlines()) < 4, told


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
    toml = small(tmp_path, resize, interpolation=interpolation)
    app = generated(tmp_path / "project", "onnx", "--model", toml)
    program = compiled(TESTS / "preprocess.cpp", app, onnxruntime_root)
    steps = Preprocessing(
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
        found = np.frombuffer(done.stdout, np.float32).reshape(3, 32, 24)
        np.testing.assert_allclose(found, preprocess(Image.fromarray(image), steps), atol=1e-6)


@pytest.mark.slow
def test_a_colour_photo_is_grey_as_in_pillow(built):
    """Of a model of grey: the golden image is in colour, and nothing of it may be off."""
    told = ctest(built)
    assert "ok      photo_cat.png: input off by 0.000000" in told
    with Image.open(built / "golden" / "photo_cat.png") as image:
        assert image.mode == "RGB"
        assert np.asarray(image).std(axis=2).max() > 10


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_without_the_runtime_cmake_says_what_to_do(tmp_path, onnxruntime_root, target):
    app = generated(tmp_path, target, *TRAINED)
    assert onnxruntime_root
    told = call("cmake", "-S", app, "-B", tmp_path / "build", exit_code=1)
    assert "was not found. Fix: -D" in " ".join(told.split())
