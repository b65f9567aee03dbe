"""The command line: what it prints, and how it fails."""

import json
import re
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from support import FASHION, expect_error, run, run_json

from vit_export import api
from vit_export.cli.errors import describe_error
from vit_export.core.errors import VitExportError

SAMPLE = FASHION / "images" / "bag_1.png"


def export(out, *arguments):
    return ("onnx", "--out", out, "-q", *arguments)


BAD_REQUESTS = {
    "an unknown model": (["--model", "vit_bass_patch16_224"], "Did you mean 'vit_base_patch16"),
    "a missing TOML": (["--model", "none.toml"], "none.toml: No such file"),
    "missing weights": (["--weights", "none.pth"], "none.pth: no such weights file"),
    "opset too low": (["--opset", "17"], "opset 17 is not supported. Fix: take 18 to 22"),
    "opset too high": (["--opset", "23"], "opset 23 is not supported. Fix: take 18 to 22"),
    "opset a word": (["--opset", "new"], "'--opset'"),
    "batch of zero": (["--batch", "0"], "batch '0' is not a batch"),
    "size no patch divides": (["--image-size", "225"], "patch_size 16 does not divide"),
    "size in words": (["--image-size", "large"], "'large' is no image size"),
    "no classes": (["--classes", "0"], "classes is 0"),
    "classes that don't fit": (["--model", "fashion_mnist", "--classes", "9"], "is for 10 classes"),
    "no images": (["--images", "none"], "none holds no images"),
    "an unknown option": (["--opsett", "20"], "No such option"),
    "no threads": (["--threads", "0"], "'--threads'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_bad_requests(earlier_result, arguments, message):
    assert message in expect_error(*export(earlier_result, *arguments), exit_code=2)


BAD_MODELS = {
    "patch": ("patch_size = 9", "patch_size 9 does not divide the image of 224x224"),
    "heads": ("heads = 7", "7 heads do not divide the width 768"),
    "a typo": ("widht = 8", "unknown key 'widht'. Fix: Did you mean 'width'?"),
    "no such pool": ("pool = 'sum'", "pool is 'sum'"),
    "no TOML": ("pool == ", "is not TOML"),
}


@pytest.mark.parametrize(("line", "message"), BAD_MODELS.values(), ids=BAD_MODELS.keys())
def test_bad_models(earlier_result, tmp_path, line, message):
    model = tmp_path / "model.toml"
    model.write_text(f"[vit]\n{line}\n")
    assert message in expect_error(*export(earlier_result, "--model", model), exit_code=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"x" * 99, "not a whole safetensors"),
        (None, "don't show"),
    ],
)
def test_bad_weights(earlier_result, tmp_path, content, message):
    weights = tmp_path / "w.safetensors"
    whole = (FASHION / "fashion_mnist.safetensors").read_bytes()
    weights.write_bytes(whole if content is None else content)
    assert message in expect_error(*export(earlier_result, "--weights", weights), exit_code=2)


def test_weights_of_another_model(earlier_result):
    weights = FASHION / "fashion_mnist.safetensors"
    arguments = ("--model", "vit_tiny_patch16_224", "--weights", weights)
    assert "width is 128, not 192" in expect_error(*export(earlier_result, *arguments), exit_code=2)


def test_truncated_weights(earlier_result, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((FASHION / "fashion_mnist.safetensors").read_bytes()[:-1000])
    arguments = ("--model", "fashion_mnist", "--weights", weights)
    assert "not a whole safetensors" in expect_error(
        *export(earlier_result, *arguments), exit_code=2
    )


def test_out_in_a_missing_folder(tmp_path):
    out = tmp_path / "none" / "f.onnx"
    assert "does not exist. Fix: mkdir -p" in expect_error(*export(out), exit_code=2)


def test_out_in_a_read_only_place(unwritable):
    assert "can't be written" in expect_error(*export(unwritable / "f.onnx"), exit_code=1)


def test_out_is_a_folder(tmp_path):
    assert "is a folder" in expect_error(*export(tmp_path), exit_code=2)


@pytest.mark.parametrize("command", ["predict", "validate"])
@pytest.mark.parametrize("content", [b"", b"\x08\x0a", b"PK\x03\x04", b"text", b"\x08" * 5000])
def test_what_is_no_artifact(tmp_path, command, content):
    path = tmp_path / "f.onnx"
    path.write_bytes(content)
    images = [SAMPLE] if command == "predict" else []
    assert str(path) in expect_error(command, path, *images, exit_code=2)


def test_a_missing_artifact():
    assert "no such artifact" in expect_error("validate", "none.onnx", exit_code=2)


def test_an_onnx_file_of_someone_else(tmp_path, fashion):
    import onnx

    model = onnx.load(fashion.path["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    assert "carries no manifest" in expect_error("validate", tmp_path / "foreign.onnx", exit_code=2)


BAD_IMAGES = {
    "text": (lambda path: path.write_text("no image"), "is not an image"),
    "bomb": (lambda path: Image.new("1", (20_000, 20_000)).save(path), "decompression bomb"),
    "missing": (lambda _: None, "no such image"),
}


@pytest.mark.parametrize(("write", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_bad_images(tmp_path, fashion, write, message):
    path = tmp_path / "image.png"
    write(path)
    assert message in expect_error("predict", fashion.path["onnx"], SAMPLE, path, exit_code=2)


JSON_REQUESTS = {
    "after a bad value": (["onnx", "--out", "f.onnx", "--opset", "9", "--json"], True),
    "before an unknown option": (["onnx", "--json", "--out", "f.onnx", "--opsett", "9"], True),
    "after an unknown option": (["models", "--all", "--json"], True),
    "before an option without its value": (["models", "--json", "--threads"], True),
    "with an unknown command": (["modells", "--json"], True),
    "as a value": (["onnx", "--opset", "9", "--out", "--json"], False),
    "as a file": (["predict", "none.onnx", "--", "--json"], False),
    "not at all": (["onnx", "--out", "f.onnx", "--opset", "9"], False),
}


@pytest.mark.parametrize(
    ("words", "is_json"), JSON_REQUESTS.values(), ids=[f"json {key}" for key in JSON_REQUESTS]
)
def test_a_failure_is_json_where_that_is_requested(tmp_path, words, is_json):
    done = run(*words, exit_code=2, cwd=tmp_path)
    assert done.stderr.startswith("Error: ")
    if is_json:
        assert json.loads(done.stdout).keys() == {"error", "fix", "exit_code"}
    else:
        assert done.stdout == ""


def test_a_failure_in_json_says_what_stderr_says(tmp_path):
    done = run("onnx", "--out", tmp_path / "f.onnx", "--opset", "9", "--json", exit_code=2)
    failure = json.loads(done.stdout)
    assert failure["exit_code"] == 2
    assert "opset 9" in failure["error"]
    assert "18 to 22" in failure["fix"]
    assert done.stderr == f"Error: {failure['error']}\nFix: {failure['fix']}\n"


def error_of(function, *arguments):
    with pytest.raises(Exception) as caught:  # noqa: PT011 whatever it raises
        function(*arguments)
    return caught.value


ERRORS = {
    "interrupted": (KeyboardInterrupt(), 130, "interrupted."),
    "Python's memory": (MemoryError(), 1, "out of memory."),
    "NumPy's memory": (error_of(np.empty, 2**58, "u1"), 1, "out of memory."),
    "memory of a GPU": (torch.OutOfMemoryError("CUDA out of memory."), 1, "out of memory."),
    "memory of a CPU": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "memory."),
    "a permission": (PermissionError(13, "Permission denied", "f.onnx"), 1, "f.onnx"),
    "one of ours": (VitExportError("wrong.", "do this."), 1, "wrong."),
}


@pytest.mark.parametrize(("error", "exit_code", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_have_their_exit_code_and_a_fix(monkeypatch, error, exit_code, message):
    monkeypatch.setattr(api, "models", mock.Mock(side_effect=error))
    assert message in expect_error("models", exit_code=exit_code)


def test_a_fault_of_the_program_is_raised(monkeypatch):
    monkeypatch.setattr(api, "models", mock.Mock(side_effect=RuntimeError("a fault")))
    with pytest.raises(RuntimeError, match="a fault"):
        run("models")


def test_reports_go_to_stdout_and_progress_to_stderr(tmp_path, tiny_toml):
    done = run("onnx", "--model", tiny_toml, "--out", tmp_path / "f.onnx")
    assert "PROVEN" in done.stdout
    for stage in ("load", "capture", "simplify", "prove batch 16"):
        assert stage in done.stderr
        assert stage not in done.stdout
    assert "the weights are RANDOM" in done.stderr


def test_quiet_means_quiet(fashion):
    done = run("validate", fashion.path["onnx"], "-q")
    assert done.stderr == ""


def test_verbose_prints_every_answer(fashion):
    brief, verbose = (run("validate", fashion.path["onnx"], "-q", *v) for v in ([], ["-v"]))
    assert "(row 15)" in verbose.stdout
    assert "(row 15)" not in brief.stdout


def test_an_artifact_that_was_changed_later(tmp_path, fashion):
    content = bytearray(fashion.path["onnx"].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\x7f" * 64
    path = tmp_path / "f.onnx"
    path.write_bytes(content)
    assert "is not the model" in expect_error("validate", path, "-q", exit_code=4)


def test_without_a_command_there_is_help():
    done = run(exit_code=2)
    assert done.stderr.startswith("Usage: ")
    assert "Fix:" not in done.stderr


def test_models():
    models = {one["name"]: one for one in run_json("models")}
    assert models["fashion_mnist"]["weights"]
    assert not models["vit_base_patch16_224"]["weights"]
    text = run("models", env={"COLUMNS": "80"}).stdout
    assert "dinov2_giant_patch14_518" in text
    assert "1,136,479,232" in text


def test_doctor():
    backends = {one["target"]: one for one in run_json("doctor")}
    assert backends["onnx"]["works"]
    assert backends["onnx"]["versions"]["onnxruntime"]
    assert "deprecated" in backends["torchscript"]["note"]
    assert "deprecated" in run("doctor").stdout


def test_summary_says_what_the_seed_leaves_out():
    text = run("summary").stdout
    assert "86,567,656 parameters" in text
    assert "86,415,592" in text
    assert "(152,064)" in text
    for layer in ("Conv2d", "LayerNorm", "Linear", "MultiHeadAttention", "[1, 197, 768]"):
        assert layer in text


def test_summary_of_another_size():
    summary = run_json("summary", "--model", "vit_tiny_patch16_224", "--classes", "7")
    assert summary["parameters"] == 5_717_416 - 993 * 193


def test_a_report_is_one_page(tmp_path, fashion_file):
    page = tmp_path / "report.html"
    run("validate", fashion_file, "--report", page, "-q")
    html = page.read_text()
    assert "PROVEN" in html
    assert html.count("<svg") == 1
    assert "photo:cat" in html
    assert not re.search(r'(src|href)="(?!#)', html)  # nothing is fetched from anywhere
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_in_a_missing_folder(tmp_path, fashion):
    page = tmp_path / "none" / "report.html"
    assert "does not exist" in expect_error(
        "validate", fashion.path["onnx"], "--report", page, "-q", exit_code=2
    )


@pytest.mark.parametrize(
    ("module", "package"), [("einops", "einops"), ("PIL.Image", "pillow"), ("onnx_ir", "onnx-ir")]
)
def test_a_missing_package_is_named_with_its_fix(module, package):
    """On a device not every package is there, and no command may end in a traceback for that."""
    error = describe_error(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert error.exit_code == 3
    assert error.fix == f"pip install {package}"
    ours = ModuleNotFoundError("No module named 'vit_export.gone'", name="vit_export.gone")
    assert describe_error(ours) is None
