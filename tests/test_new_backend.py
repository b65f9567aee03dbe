"""A new backend is a folder and a line: nothing else changes, and everything follows.

The package is copied, `tests/toy_backend` becomes a folder in it, and one line is added to the
registry (and its import). What follows is seen from outside, in processes that import the copy.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import FASHION, ROOT, TAMPERING

pytestmark = pytest.mark.slow  # a copy of the package, imported in processes of their own

IMPORT = "from vit_export.backends.torchscript.backend import TORCHSCRIPT\n"
LINE = "        TENSORRT,\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with the package, scripts and documentation, and the toy among the backends."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "vit_export", folder / "vit_export", ignore=ignored)
    shutil.copytree(
        ROOT / "tests" / "toy_backend", folder / "vit_export" / "backends" / "toy", ignore=ignored
    )
    registry = folder / "vit_export" / "backends" / "__init__.py"
    text = registry.read_text()
    assert text.count(IMPORT) == text.count(LINE) == 1
    text = text.replace(IMPORT, f"from vit_export.backends.toy.backend import TOY\n{IMPORT}")
    registry.write_text(text.replace(LINE, f"{LINE}        TOY,\n"))
    for name in ("scripts", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "README.md", folder / "README.md")
    (folder / "small.toml").write_text(
        "[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\ndepth = 1\nheads = 3\nclasses = 5\n"
        "[preprocessing]\nresize = 16\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    )
    return folder


@pytest.fixture(scope="module")
def python(copy):
    """`python(*arguments)`: Python in that folder, importing the copy; what it printed."""

    def python(*arguments, exit_code=0):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": f"{copy}:{ROOT / 'tests'}", "COLUMNS": "200"},
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done

    return python


COMMANDS = {
    "help": "--help",
    "toy help": "toy --help",
    "export": "toy --model small.toml --padding 3 --out f.toy --json -q",
    "refused": "toy --model small.toml --padding 65 --out refused.toy --json -q",
    "doctor": "doctor --json",
    "validate": "validate f.toy --json -q",
    "predict": f"predict f.toy {FASHION}/images/bag_1.png --json",
    "inspect": "inspect f.toy --json",
    "bench": "bench f.toy --rounds 5 --json -q",
    "locate": "locate f.toy --json -q",
    "foreign": "validate foreign --json -q",
}
RUN_ALL = """
import json, sys
from in_process import run_here
done = {name: run_here(words.split(), {}, ".") for name, words in json.loads(sys.argv[1]).items()}
print(json.dumps({name: (one.returncode, one.stdout) for name, one in done.items()}))
"""


@pytest.fixture(scope="module")
def answers(copy, python):
    """Exit code and standard output of each of `COMMANDS`, which one process runs in turn."""
    (copy / "foreign").write_bytes(b"nothing")
    return json.loads(python("-c", RUN_ALL, json.dumps(COMMANDS)).stdout)


@pytest.fixture(scope="module")
def command(answers):
    """`command(name)`: the document that one of `COMMANDS` printed."""

    def command(name, exit_code=0):
        code, stdout = answers[name]
        assert code == exit_code, stdout
        return json.loads(stdout)

    return command


def test_the_copy_is_what_runs(copy, python):
    printed = python("-c", "import vit_export; print(vit_export.__file__)").stdout
    assert Path(printed.strip()).is_relative_to(copy)


def test_the_command_has_the_help_and_the_options_of_the_backend(answers):
    _, text = answers["toy help"]
    assert "A toy for eager PyTorch" in text
    assert "Nobody ships toys." in text
    assert re.search(r"--padding N .*Zeros in front of the weights\. 0 to 64\.", text)
    assert "--calibration" not in text  # it has no quantized precision
    assert "  toy " in answers["help"][1]


def test_the_python_function_has_them_too(python):
    script = "import inspect, vit_export; print(inspect.signature(vit_export.toy))"
    assert "padding: int = 0" in python("-c", script).stdout
    assert "toy" in python("-c", "import vit_export; print(vit_export.__all__)").stdout


def test_doctor_knows_it(command):
    (health,) = [one for one in command("doctor") if one["target"] == "toy"]
    assert health["missing"] == []
    assert health["versions"].keys() == {"torch", "safetensors"}
    assert "Toys run anywhere." in health["note"]


def test_it_is_exported_and_proven(copy, command):
    out, report = copy / "f.toy", command("export")
    assert report["verdict"]["status"] == "PROVEN"
    assert report["verdict"]["runtime"] == "toy runtime 1.0"
    assert out.read_bytes().startswith(b"TOY1\0\0\0")
    settings = json.loads(Path(f"{out}.manifest").read_text())["settings"]
    assert settings == {"padding": 3}


def test_options_out_of_range_are_refused(copy, command):
    assert "take 0 to 64" in command("refused", exit_code=2)["fix"]
    assert not list(copy.glob("refused.toy*"))


def test_validate_opens_it(command):
    assert command("validate")["status"] == "PROVEN"


def test_predict_opens_it(command):
    (answer,) = command("predict")
    assert len(answer["classes"]) == 5


def test_inspect_describes_it(copy, command):
    report = command("inspect")
    assert report["family"] == "toy, fp32, batch dynamic"
    size_bytes = (copy / "f.toy").stat().st_size
    assert report["metadata"]["toy: padding"] == f"3 of {size_bytes} bytes"


def test_bench_times_it(command):
    rows = command("bench")["rows"]
    (row,) = [row for row in rows if row["name"] == "f.toy"]
    assert row["version"] == "toy runtime 1.0"
    assert row["p50_ms"] > 0
    assert row["worst_snr_db"] > 100 or row["worst_snr_db"] == "inf"


def test_locate_says_what_to_do_instead(command):
    error = command("locate", exit_code=2)
    assert "is a toy file" in error["error"]
    assert "vit-export onnx" in error["fix"]


def test_a_toy_that_is_not_the_model_is_rejected(copy, python):
    out = copy / "wrong.toy"
    arguments = ("toy", "--model", "small.toml", "--out", out, "-q", "--json")
    printed = python(TAMPERING, "tampered_weight", *arguments, exit_code=4).stdout
    assert "vit-export onnx" in json.loads(printed)["fix"]  # a toy has no taps for locate
    files = {path.name for path in copy.glob("wrong.toy*")}
    assert files == {f"wrong.toy.rejected{s}" for s in ("", ".manifest", ".report.json")}


def test_a_missing_toy_is_missed_in_the_message_on_foreign_files(command):
    error = command("foreign", exit_code=2)["error"]
    assert "is no ONNX, TorchScript, TensorRT or toy" in error


def test_the_tables_of_the_documentation_have_its_row(copy, python):
    python("scripts/docs_commands.py")
    assert "| `vit-export toy` | `.toy` | `fp32` |" in (copy / "README.md").read_text()
    page = (copy / "docs" / "cli.md").read_text()
    assert "### vit-export toy" in page
    assert "--padding N" in page


def test_the_stub_for_type_checkers_has_its_function(copy, python):
    python("scripts/stubs.py")
    stub = (copy / "vit_export" / "__init__.pyi").read_text()
    assert re.search(r"def toy\(.*?padding: int = 0", stub, re.DOTALL)
