"""Modules that a stranger left in the current folder are not imported."""

from pathlib import Path

import pytest
from support import FASHION, run

from vit_export.bench.candidates import Candidate
from vit_export.bench.interleave import Worker

NAMES = ("numpy", "torch", "vit_export", "onnxruntime", "json", "PIL", "safetensors")
COMMANDS = {
    "bench": ("--rounds", "5", "-q"),
    "predict": (FASHION / "images" / "bag_1.png",),
    "validate": ("-q",),
}


@pytest.fixture
def planted(tmp_path) -> Path:
    """A folder of modules, each of which leaves a file RAN beside itself when it is imported."""
    for name in NAMES:
        code = f"open({str(tmp_path / 'RAN')!r}, 'w').close()\nraise SystemExit({name!r})\n"
        (tmp_path / f"{name}.py").write_text(code)
    return tmp_path


def list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_process_of_the_bench_imports_nothing_from_the_current_folder(
    fashion, planted, monkeypatch
):
    monkeypatch.chdir(planted)
    with Worker(Candidate(name="f", kind="artifact", path=str(fashion.path["onnx"]))) as worker:
        assert "ONNX Runtime" in worker.version
    assert list_names(planted) == {f"{name}.py" for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "options"), COMMANDS.items(), ids=COMMANDS)
def test_a_command_imports_nothing_from_the_current_folder(fashion, planted, command, options):
    run(command, fashion.path["onnx"], *options, process=True, cwd=planted)
    assert list_names(planted) == {f"{name}.py" for name in NAMES}
