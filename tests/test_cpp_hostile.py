"""C++ projects of files whose manifest somebody wrote to run commands: refused, or harmless."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from cpp_projects import (
    DEBUG,
    GRAPH,
    call,
    ctest,
    describe_small_model,
    onnxruntime_root,
    runtimes,
)
from edited_files import KEY, edit_manifest, set_value
from support import expect_error, run

__all__ = ["onnxruntime_root", "runtimes"]  # fixtures

CANARY = "canary"
"""Name of the file that a command of the manifest would make."""
CMAKE = f"execute_process(COMMAND touch {CANARY})"
LABELS = (
    f'") {CMAKE} #',
    f"$(touch {CANARY}) `touch {CANARY}`; touch {CANARY} & ' \" \\",
    f"]] ]=] {CMAKE} [[ ${{HOME}} $ENV{{HOME}} @HOME@ $<1:x>",
    f'"); std::system("touch {CANARY}"); // \\',
    "{{ x }} @{ name }@ {% raw %} é ?\u200b??/",
)
"""Five labels that keep to their line."""
TEXT = "\n".join((*LABELS, "")) + f"\n)\n{CMAKE}\n#endif\n*/ int x = 1;\n```\n<script>\x1b]0;x\x07"
"""A text of many lines, with something for every language of a project."""
HARMLESS = {
    "model",
    "preset",
    "versions.numpy",
    "versions.onnx",
    "versions.vit-export",
    "weights_from",
}
"""Some fields that may hold any text."""


@pytest.fixture(scope="module")
def honest(shared_folder):
    """A file that resizes by itself, of a small model with five labels."""

    def fill(folder):
        (folder / "labels.txt").write_text("a\nb\nc\nd\ne\n")
        words = ("--model", describe_small_model(folder), *GRAPH, "--labels", folder / "labels.txt")
        run("onnx", *words, "--out", folder / "f.onnx", "-q")

    return shared_folder("cpp-hostile", fill) / "f.onnx"


def list_texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every text of a manifest; of a list the first element stands for all."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, one in inner:
        if isinstance(one, str):
            yield (*path, key)
        elif isinstance(one, dict | list):
            yield from list_texts(one, (*path, key))


def read_manifest(file: Path) -> dict[str, Any]:
    (entry,) = [one for one in onnx.load(file).metadata_props if one.key == KEY]
    return json.loads(entry.value)


def write_recipe(values: dict[str, Any]) -> None:
    """The recipe of noise keeps its digest, which ignores what follows the size."""
    recipes = values["reference"]["recipes"]
    at = next(i for i, one in enumerate(recipes) if one.startswith("noise:"))
    recipes[at] += f":)\n{CMAKE}\n#"


REFUSED = {
    "a recipe": write_recipe,
    "a head": set_value("settings", "head", value=TEXT),
    "a filter": set_value("preprocessing", "interpolation", value=TEXT),
    "a mean": set_value("preprocessing", "mean", value=[TEXT] * 3),
    "labels of several lines": set_value("labels", value=[TEXT, *"bcde"]),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_text_where_a_word_or_number_belongs_is_refused(tmp_path, honest, change):
    hostile = edit_manifest(honest, tmp_path / "h.onnx", change)
    message = expect_error("cpp", hostile, "--out", tmp_path / "app", "-q", exit_code=2)
    assert "\x1b" not in message
    assert not (tmp_path / "app").exists()


@pytest.mark.slow
def test_no_text_of_a_manifest_runs_when_its_project_is_built(tmp_path, honest, runtimes):
    """Each text by itself is refused or taken; a project with all that are taken is built."""
    taken = []
    for path in list_texts(read_manifest(honest)):
        hostile = edit_manifest(honest, tmp_path / "h.onnx", set_value(*path, value=TEXT))
        done = run("cpp", hostile, "--out", tmp_path / "one", "--force", "-q", exit_code=None)
        assert done.returncode in {0, 2}, (path, done.stderr)
        taken += [path] if done.returncode == 0 else []
    assert {".".join(map(str, path)) for path in taken} >= HARMLESS

    def write_all(values):
        values["labels"] = LABELS
        for path in taken:
            set_value(*path, value=TEXT)(values)

    app = tmp_path / "app"
    run("cpp", edit_manifest(honest, tmp_path / "h.onnx", write_all), "--out", app, "-q")
    folder = {"cwd": tmp_path}
    call("cmake", "-S", app, "-B", app / "build", runtimes["onnx"], DEBUG, **folder)
    call("cmake", "--build", app / "build", "--parallel", "2", **folder)
    assert "100% tests passed" in ctest(app)
    assert (app / "labels.txt").read_text().splitlines() == [*LABELS]
    command = (app / "build/classify", app / "vit.onnx", app / "golden/1.png")
    words = [*map(str, command), "--labels", str(app / "labels.txt")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, **folder).stdout
    assert all(label in shown for label in LABELS)
    assert not [*tmp_path.rglob(CANARY)]
