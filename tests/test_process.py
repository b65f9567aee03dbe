"""The command line as a process: signals, pipes, full disks, exit codes."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import COMMAND, FASHION, expect_error, mark_slow_except, run

from vit_export import api
from vit_export.backends import BACKENDS
from vit_export.backends.onnx import session
from vit_export.backends.open import open_artifact

WAITING = """
import sys, time
from contextlib import contextmanager
from vit_export import cli
from vit_export.cli.render import output

stage_to_wait_in = sys.argv.pop(1)

@contextmanager
def progress(stage):
    if stage == stage_to_wait_in:
        print("waiting", file=sys.stderr, flush=True)
        time.sleep(600)
    yield

output.show_progress = lambda quiet: progress
cli.main()
"""
"""A program that runs a command line and waits in one of its stages."""
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full file")


def export(out, model, target="onnx"):
    return [str(word) for word in (target, "--model", model, "--out", out)]


@contextmanager
def process_in(stage, command):
    """A process of the command line that waits at the begin of a stage."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, stage, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stderr.readline()
        assert line == "waiting\n", line + process.stderr.read()
        yield process


def interrupt(process):
    """Send Ctrl-C; the exit code and what the process still printed to stderr."""
    process.send_signal(signal.SIGINT)
    _, text = process.communicate()
    return process.returncode, text


@pytest.mark.parametrize(
    "stage", ["load", "lower", pytest.param("prove batch 16", marks=pytest.mark.slow)]
)
def test_interrupted(earlier_result, tiny_toml, stage):
    with process_in(stage, export(earlier_result, tiny_toml)) as process:
        exit_code, text = interrupt(process)
    assert exit_code == 130, text
    assert "Error: interrupted." in text
    assert "Traceback" not in text


@pytest.mark.slow
@pytest.mark.parametrize("finished", ["load", "answer in eager PyTorch"])
def test_interrupted_in_the_middle_of_the_work(earlier_result, finished):
    command = export(earlier_result, "einops_vit_tiny_patch16_224")
    with subprocess.Popen(
        [COMMAND, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if finished in line:
                break
        exit_code, text = interrupt(process)
    assert exit_code == 130, text
    assert "Error: interrupted." in text


def test_killed_and_started_again(tmp_path, tiny_toml):
    """kill -9 while it works: OUT is untouched, and the next run leaves nothing behind."""
    out = tmp_path / "f.onnx"
    out.write_text("an earlier result")
    command = export(out, tiny_toml)
    with process_in("lower", command) as process:
        process.kill()
    assert out.read_text() == "an earlier result"
    assert len(list(tmp_path.glob(".f.onnx.*.partial"))) == 1
    run(*command, "-q")
    assert {path.name for path in tmp_path.iterdir()} == {"f.onnx", tiny_toml.name}


def test_two_processes_with_one_out(tmp_path, tiny_toml):
    """Whoever ends last wins, whole: its manifest and its weights belong together."""
    out = tmp_path / "f.pt"
    command = [COMMAND, *export(out, tiny_toml, "torchscript"), "-q", "--seed"]
    processes = [subprocess.Popen([*command, seed], stdout=subprocess.PIPE) for seed in "12"]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    run("validate", out, "-q")
    assert {path.name for path in tmp_path.iterdir()} == {"f.pt", tiny_toml.name}


@pytest.mark.parametrize("backend", mark_slow_except(["onnx", "torchscript"], "torchscript"))
def test_a_full_disk(tmp_path, backend):
    """No file may grow past 1 MB: the system refuses in the middle of the weights."""
    script = f'ulimit -f 1024; exec "{COMMAND}" "$@"'
    out = tmp_path / f"f{BACKENDS[backend].suffix}"
    out.write_text("an earlier result")
    command = (backend, "--model", "fashion_mnist", "--out", out, "-q")
    text = expect_error("-c", script, "vit-export", *command, command="bash", exit_code=1)
    assert "can't be written" in text
    assert out.read_text() == "an earlier result"
    assert list(tmp_path.iterdir()) == [out]


@FULL
@pytest.mark.parametrize("arguments", ["models", "models --json"])
def test_a_full_disk_behind_stdout(arguments):
    script = f'"{COMMAND}" {arguments} >/dev/full'
    text = expect_error("-c", script, command="bash", exit_code=1)
    assert "No space left on device. Fix: check the path" in text


@pytest.mark.parametrize("command", ["models", "models --json"])
def test_a_reader_that_stops_is_no_error(command):
    script = f'"{COMMAND}" {command} | head -1; exit "${{PIPESTATUS[0]}}"'
    done = run("-c", script, command="bash", exit_code=None)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(("redirection", "expected"), [(">&-", 0), (">&- 2>&-", 0)])
def test_closed_streams(redirection, expected):
    run("-c", f'"{COMMAND}" models {redirection}', command="bash", exit_code=expected)


@pytest.fixture(scope="module")
def rejected(tmp_path_factory, fashion):
    """A file with NaN among its weights."""
    path = tmp_path_factory.mktemp("rejected") / "f.onnx"
    content = bytearray(fashion.path["onnx"].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\xff" * 64
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "script",
    [
        pytest.param('"{0}" validate {1} -q >&-', id="closed"),
        pytest.param('"{0}" validate {1} -q | head -1; exit "${{PIPESTATUS[0]}}"', id="pipe"),
        pytest.param('PYTHONIOENCODING=ascii "{0}" validate {1} -q', id="ascii"),
        pytest.param('FORCE_COLOR=1 PYTHONIOENCODING=latin-1 "{0}" validate {1} -q', id="latin-1"),
    ],
)
def test_a_rejection_has_its_exit_code_whatever_reads_it(rejected, script):
    done = run("-c", script.format(COMMAND, rejected), command="bash", exit_code=4)
    assert "is not the model" in done.stderr
    assert "Traceback" not in done.stderr


@FULL
@pytest.mark.parametrize(
    ("command", "form"),
    [
        ("validate", ""),
        pytest.param("validate", "--json", marks=pytest.mark.slow),
        pytest.param("locate", "", marks=pytest.mark.slow),
    ],
)
def test_a_rejection_has_its_exit_code_where_stdout_is_full(rejected, command, form):
    script = f'"{COMMAND}" {command} {rejected} -q {form} >/dev/full'
    text = run("-c", script, command="bash", exit_code=4).stderr
    assert ("The report can't be printed: No space left on device." in text) is (not form)
    assert text.count("Error: ") == text.count("Fix: ") == 1


@FULL
@pytest.mark.slow
def test_an_export_is_written_where_stdout_is_full(tmp_path, tiny_toml):
    out = tmp_path / "f.onnx"
    script = f'"{COMMAND}" onnx --model {tiny_toml} --out {out} -q >/dev/full'
    text = expect_error("-c", script, command="bash", exit_code=1)
    assert f"{out} is written, and its report can't be printed: No space left" in text
    assert "PROVEN" in run("validate", out, "-q").stdout


def test_a_closed_stdout_is_not_the_next_file():
    """The first file that is opened would have the descriptor that libraries print to."""
    code = (
        "import os, sys; from vit_export import api, cli; "
        "api.models = lambda: print(os.open(os.devnull, os.O_RDONLY), file=sys.stderr) or []; "
        "cli.main()"
    )
    done = run("-c", f'"{sys.executable}" -c "{code}" models >&- <&-', command="bash")
    assert int(done.stderr) > 2


@pytest.mark.parametrize(
    "error", [ImportError("libx.so: failed to map segment"), SystemError("error return")]
)
def test_a_library_without_memory_is_a_sentence(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(api, "models", fail)
    text = expect_error("models", exit_code=1)
    assert str(error) in text
    assert "ulimit -v" in text


LEAST_KILOBYTES = 60_000
"""NumPy loads nowhere within it."""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't limit address space")
@pytest.mark.slow
@pytest.mark.parametrize(
    "kilobytes", [LEAST_KILOBYTES, 100_000, 150_000, 160_000, 190_000, 220_000]
)
@pytest.mark.parametrize("command", ["--help", "predict"])
def test_a_limit_on_memory_ends_in_a_sentence(fashion, kilobytes, command):
    """From NumPy, which does not load, to ONNX Runtime, which does not open the file."""
    words = f"{fashion.path['onnx']} {FASHION / 'images' / 'bag_1.png'}" * (command == "predict")
    script = f'ulimit -v {kilobytes}; "{COMMAND}" {command} {words}'
    done = run("-c", script, command="bash", exit_code=None)
    if done.returncode == 0 and kilobytes > LEAST_KILOBYTES:  # this machine needs less
        assert ("Usage: " if command == "--help" else "Bag") in done.stdout
        return
    assert done.returncode == 1, done.stderr
    first, _ = (line for line in done.stderr.splitlines() if line.startswith(("Error: ", "Fix: ")))
    assert "memory" in first
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["std::bad_alloc", "Failed to allocate memory for requested"])
def test_onnxruntime_without_memory_is_no_damaged_file(fashion, monkeypatch, words):
    def fail(*_):
        raise RuntimeError(words)

    monkeypatch.setattr(session, "open_inference_session", fail)
    text = expect_error("validate", fashion.path["onnx"], exit_code=1)
    assert "out of memory" in text


@pytest.mark.parametrize(
    ("backend", "attribute", "words"),
    [
        ("onnx", "_session", "RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
        ("torchscript", "_module", "DefaultCPUAllocator: can't allocate memory: you tried to\nEnd"),
    ],
)
def test_a_run_without_memory_is_no_wrong_answer(fashion, backend, attribute, words):
    def fail(*_):
        raise RuntimeError(words)

    opened = open_artifact(fashion.path[backend])
    setattr(opened, attribute, SimpleNamespace(run=fail) if backend == "onnx" else fail)
    with pytest.raises(MemoryError):
        opened.run(np.zeros((1, 1, 28, 28), np.float32))


def test_onnxruntime_that_can_not_be_loaded_is_not_missing(fashion, monkeypatch):
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)

    class Broken:
        def find_spec(self, name, *_):
            if name == "onnxruntime":
                raise ImportError("libonnxruntime.so: failed to map segment")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    text = expect_error("validate", fashion.path["onnx"], exit_code=1)
    assert "failed to map segment" in text
    assert "raise the memory limit" in text


@pytest.mark.slow
def test_a_home_without_write_permission_is_no_news(tmp_path, fashion, unwritable):
    """Matplotlib takes a temporary folder for its cache, and would say so at each report."""
    home = {"HOME": str(unwritable), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    report = tmp_path / "report.html"
    done = run("validate", fashion.path["onnx"], "-q", "--report", report, env=home, process=True)
    assert done.stderr == ""
    assert report.exists()


def test_a_web_address_is_named_as_it_is(fashion):
    address = "https://example.com/cat.png"
    text = expect_error("predict", fashion.path["onnx"], address, exit_code=2)
    assert f"{address} is a web address" in text


def test_a_failure_with_closed_streams_has_its_exit_code():
    script = f'"{COMMAND}" validate none.onnx --json >&- 2>&-'
    run("-c", script, command="bash", exit_code=2)


def test_a_request_that_makes_no_sense_ends_with_2():
    done = run("onnx", "--out", "f.onnx", "--opset", "9", "--json", process=True, exit_code=2)
    assert json.loads(done.stdout)["exit_code"] == 2
    assert done.stderr.startswith("Error: ")


def test_what_is_not_installed_ends_with_3(fashion):
    """A device has no torch, which TorchScript needs."""
    script = "import sys; sys.modules['torch'] = None; from vit_export.cli import main; main()"
    command = ("validate", fashion.path["torchscript"])
    text = expect_error("-c", script, *command, command=sys.executable, exit_code=3)
    assert "Fix: pip install torch" in text


def test_a_file_that_is_not_the_model_ends_with_4(tmp_path, fashion):
    out = tmp_path / "f.onnx"
    content = bytearray(fashion.path["onnx"].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\x7f" * 64
    out.write_bytes(content)
    text = expect_error("validate", out, "-q", process=True, exit_code=4)
    assert "is not the model" in text


def test_a_fault_of_the_program_is_a_traceback():
    """Nothing hides it: it is to be reported."""
    script = (
        "from vit_export import api, cli\n"
        "def fail(): raise KeyError('a fault')\n"
        "api.models = fail\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "models"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "KeyError: 'a fault'" in done.stderr


def test_the_command_is_the_module(tmp_path):
    """`python -m vit_export` is for those whose PATH lacks the command."""
    by_module = run("-m", "vit_export", "models", command=sys.executable, cwd=tmp_path)
    assert by_module.stdout == run("models", process=True).stdout


def test_a_process_prints_what_run_prints(fashion):
    image = FASHION / "images" / "bag_1.png"
    command = ("predict", fashion.path["onnx"], image, "--json")
    assert run(*command, process=True).stdout == run(*command).stdout
