"""The command line from the outside: what it prints, and how it fails."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image
from support import COMMAND, FASHION, refused, run, run_json

SAMPLE = FASHION / "images" / "bag_1.png"


@pytest.fixture
def earlier(tmp_path):
    """An earlier OUT that no failure may touch."""
    out = tmp_path / "f.onnx"
    out.write_text("an earlier result")
    yield out
    assert out.read_text() == "an earlier result"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith((".", "f.onnx"))) == [
        "f.onnx"
    ]


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
def test_bad_requests(earlier, arguments, message):
    assert message in refused(*export(earlier, *arguments), exit_code=2)


BAD_MODELS = {
    "patch": ("patch_size = 9", "patch_size 9 does not divide the image of 224x224"),
    "heads": ("heads = 7", "7 heads do not divide the width 768"),
    "a typo": ("widht = 8", "unknown key 'widht'. Fix: Did you mean 'width'?"),
    "no such pool": ("pool = 'sum'", "pool is 'sum'"),
    "no TOML": ("pool == ", "is not TOML"),
}


@pytest.mark.parametrize(("line", "message"), BAD_MODELS.values(), ids=BAD_MODELS.keys())
def test_bad_models(earlier, tmp_path, line, message):
    model = tmp_path / "model.toml"
    model.write_text(f"[vit]\n{line}\n")
    assert message in refused(*export(earlier, "--model", model), exit_code=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole safetensors"),
        (b"x" * 99, "not a whole safetensors"),
        (None, "don't show"),
    ],
)
def test_bad_weights(earlier, tmp_path, content, message):
    weights = tmp_path / "w.safetensors"
    whole = (FASHION / "fashion_mnist.safetensors").read_bytes()
    weights.write_bytes(whole if content is None else content)
    assert message in refused(*export(earlier, "--weights", weights), exit_code=2)


def test_weights_of_another_model(earlier):
    weights = FASHION / "fashion_mnist.safetensors"
    arguments = ("--model", "vit_tiny_patch16_224", "--weights", weights)
    assert "width is 128, not 192" in refused(*export(earlier, *arguments), exit_code=2)


def test_truncated_weights(earlier, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((FASHION / "fashion_mnist.safetensors").read_bytes()[:-1000])
    arguments = ("--model", "fashion_mnist", "--weights", weights)
    assert "not a whole safetensors" in refused(*export(earlier, *arguments), exit_code=2)


def test_out_in_a_missing_folder(tmp_path):
    out = tmp_path / "none" / "f.onnx"
    assert "does not exist. Fix: mkdir -p" in refused(*export(out), exit_code=2)


def test_out_in_a_read_only_place(unwritable):
    assert "can't be written" in refused(*export(unwritable / "f.onnx"), exit_code=1)


def test_out_is_a_folder(tmp_path):
    assert "is a folder" in refused(*export(tmp_path), exit_code=2)


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_full_disk(earlier, target):
    """No file may grow past 1 MB: the system refuses in the middle of the weights."""
    script = f'ulimit -f 1024; exec "{COMMAND}" "$@"'
    arguments = ("-c", script, "vit-export", target, "--model", "fashion_mnist", "--out", earlier)
    told = refused(*arguments, "-q", command="bash", exit_code=1)
    assert "can't be written" in told


def interrupt(out, after):
    """An export that gets Ctrl-C once it says `after`."""
    command = [COMMAND, "onnx", "--model", "einops_vit_tiny_patch16_224", "--out", str(out)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        for line in run.stderr:
            if after in line:
                break
        time.sleep(0.3)
        run.send_signal(signal.SIGINT)
        told = run.stderr.read()
        run.stdout.read()
    return run.returncode, told


@pytest.mark.parametrize("after", ["load", "lower"])
def test_interrupted(earlier, after):
    code, told = interrupt(earlier, after)
    assert code == 130, told
    assert "Error: interrupted." in told
    assert "Traceback" not in told


def test_killed_and_tried_again(tmp_path, tiny_toml):
    """kill -9 while it works: OUT is untouched, and the next run leaves nothing behind."""
    out = tmp_path / "f.onnx"
    out.write_text("an earlier result")
    command = [COMMAND, "onnx", "--model", str(tiny_toml), "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "lower" in line:
                break
        while not list(tmp_path.glob(".f.onnx.*.partial")):
            time.sleep(0.01)
        process.kill()
    assert out.read_text() == "an earlier result"
    run(*command[1:], "-q")
    assert {path.name for path in tmp_path.iterdir()} == {"f.onnx", tiny_toml.name}


def test_two_runs_of_one_out(tmp_path, tiny_toml):
    """Whoever ends last wins, whole: its manifest and its weights belong together."""
    out = tmp_path / "f.onnx"
    command = [COMMAND, "onnx", "--model", str(tiny_toml), "--out", str(out), "-q", "--seed"]
    runs = [subprocess.Popen([*command, seed], stdout=subprocess.PIPE) for seed in "12"]
    for process in runs:
        process.communicate()
    assert [process.returncode for process in runs] == [0, 0]
    run("validate", out, "-q")
    assert {path.name for path in tmp_path.iterdir()} == {"f.onnx", tiny_toml.name}


@pytest.mark.parametrize("command", ["predict", "validate"])
@pytest.mark.parametrize("content", [b"", b"\x08\x0a", b"PK\x03\x04", b"text", b"\x08" * 5000])
def test_what_is_no_artifact(tmp_path, command, content):
    path = tmp_path / "f.onnx"
    path.write_bytes(content)
    images = [SAMPLE] if command == "predict" else []
    assert str(path) in refused(command, path, *images, exit_code=2)


def test_a_missing_artifact():
    assert "no such artifact" in refused("validate", "none.onnx", exit_code=2)


def test_an_onnx_file_of_somebody_else(tmp_path, fashion):
    import onnx

    model = onnx.load(fashion.path["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    assert "carries no manifest" in refused("validate", tmp_path / "foreign.onnx", exit_code=2)


BAD_IMAGES = {
    "text": (lambda path: path.write_text("no image"), "is not an image"),
    "bomb": (lambda path: Image.new("1", (20_000, 20_000)).save(path), "decompression bomb"),
    "missing": (lambda _: None, "no such image"),
}


@pytest.mark.parametrize(("write", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_bad_images(tmp_path, fashion, write, message):
    path = tmp_path / "image.png"
    write(path)
    assert message in refused("predict", fashion.path["onnx"], SAMPLE, path, exit_code=2)


def test_failures_are_json_too(tmp_path):
    done = run("onnx", "--out", tmp_path / "f.onnx", "--opset", "9", "--json", exit_code=2)
    told = json.loads(done.stdout)
    assert told == {
        "error": "opset 9 is not supported.",
        "fix": "take 18 to 22.",
        "exit_code": 2,
    }


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


def test_verbose_tells_every_answer(fashion):
    brief, verbose = (run("validate", fashion.path["onnx"], "-q", *v) for v in ([], ["-v"]))
    assert "(row 15)" in verbose.stdout
    assert "(row 15)" not in brief.stdout


def test_an_artifact_that_was_changed_later(tmp_path, fashion):
    content = bytearray(fashion.path["onnx"].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\x7f" * 64
    path = tmp_path / "f.onnx"
    path.write_bytes(content)
    assert "is not the model" in refused("validate", path, "-q", exit_code=4)


def test_without_a_command_there_is_help():
    done = run(exit_code=2)
    assert done.stderr.startswith("Usage: ")
    assert "Fix:" not in done.stderr


def test_models():
    told = {one["name"]: one for one in run_json("models")}
    assert told["fashion_mnist"]["weights"]
    assert not told["vit_base_patch16_224"]["weights"]
    text = run("models", env={"COLUMNS": "80"}).stdout
    assert "dinov2_giant_patch14_518" in text
    assert "1,136,479,232" in text


def test_doctor():
    told = {one["target"]: one for one in run_json("doctor")}
    assert told["onnx"]["works"]
    assert told["onnx"]["versions"]["onnxruntime"]
    assert "deprecated" in told["torchscript"]["note"]
    assert "deprecated" in run("doctor").stdout


def test_summary_tells_what_the_seed_left_out():
    text = run("summary").stdout
    assert "86,567,656 parameters" in text
    assert "86,415,592" in text
    assert "(152,064)" in text
    for layer in ("Conv2d", "LayerNorm", "Linear", "MultiHeadAttention", "[1, 197, 768]"):
        assert layer in text


def test_summary_of_another_size():
    told = run_json("summary", "--model", "vit_tiny_patch16_224", "--classes", "7")
    assert told["parameters"] == 5_717_416 - 993 * 193


def test_a_report_is_one_page(tmp_path, fashion_file):
    page = tmp_path / "report.html"
    run("validate", fashion_file, "--report", page, "-q")
    html = page.read_text()
    assert "PROVEN" in html
    assert html.count("<svg") == 1
    assert "photo:cat" in html
    assert not re.search(r'(src|href)="(?!#)', html)  # nothing is fetched from anywhere
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_nowhere(tmp_path, fashion):
    page = tmp_path / "none" / "report.html"
    assert "does not exist" in refused(
        "validate", fashion.path["onnx"], "--report", page, "-q", exit_code=2
    )


def test_a_closed_pipe_is_no_traceback():
    script = f'"{COMMAND}" models | head -1'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=os.environ
    )
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is full")
@pytest.mark.parametrize("arguments", ["models", "models --json"])
def test_a_full_disk_behind_stdout_is_told(arguments):
    script = f'"{COMMAND}" {arguments} >/dev/full'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: [Errno 28] No space left on device.",
        "Fix: check the path, its permissions and the free space.",
    ]
