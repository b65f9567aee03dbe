"""The house: thirteen folders, each of which imports only from those above it."""

import ast
from pathlib import Path

import pytest
from support import ROOT

import vit_export

PACKAGE = ROOT / "vit_export"

FOLDERS = (
    "core",
    "data",
    "model",
    "artifact",
    "checkpoints",
    "graph",
    "quantization",
    "backends",
    "validation",
    "bench",
    "codegen",
    "api",
    "cli",
)
"""Top to bottom."""
FLAT = {"__init__.py", "__main__.py"}
ONE_PLACE = {
    "print(": "cli/render/",
    "import click": "cli/",
    "torch.onnx.export": "graph/capture.py",
}
"""What stands in one place only, and where."""
KNOWS_VIT_SPEC = (
    "model/",
    "checkpoints/",
    "artifact/manifest",
    "artifact/layouts.py",  # files of layout 1 have a spec and no signature
    "__init__.py",
)
"""Who may name VitSpec; all others ask a Model whether it has one."""
MOST_LINES, MOST_LINES_OF_FUNCTION = 220, 40

SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def tree_of(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text())


def code_without_docstrings(name: str) -> str:
    tree = tree_of(name)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                one
                for one in body
                if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
            ]
    return ast.unparse(tree)


def imported_folders(tree: ast.Module) -> set[str]:
    """The folders that are imported from anywhere, but for the type checker alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "vit_export":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vit_export."):
            names.add(node.module.split(".")[1])
    return names & set(FOLDERS)


def lines_of(function: ast.FunctionDef) -> int:
    """Lines of a function behind its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_nothing_else_lies_in_the_package():
    assert {path.name for path in PACKAGE.glob("*.py")} == FLAT
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == set(FOLDERS)


@pytest.mark.parametrize("name", [name for name in SOURCES if "/" in name])
def test_a_folder_imports_only_from_those_above(name):
    own = FOLDERS.index(name.split("/")[0])
    below = {other for other in imported_folders(tree_of(name)) if FOLDERS.index(other) > own}
    assert below == set(), name


def test_the_check_of_imports_can_fail():
    tree = ast.parse("def f():\n    from vit_export.cli.render import tables")
    assert imported_folders(tree) == {"cli"}
    assert imported_folders(ast.parse("from vit_export import api")) == {"api"}


@pytest.mark.parametrize("word", ONE_PLACE)
def test_what_has_one_place_stands_nowhere_else(word):
    for name, path in SOURCES.items():
        if not name.startswith(ONE_PLACE[word]):
            lines = [
                line for line in path.read_text().splitlines() if line.strip().startswith(word)
            ]
            assert lines == [], name


def test_only_the_readers_of_a_vit_know_its_spec():
    """A docstring may name the public class; code may not."""
    for name in SOURCES:
        if not name.startswith(KNOWS_VIT_SPEC):
            assert "VitSpec" not in code_without_docstrings(name), name


@pytest.mark.parametrize("name", SOURCES)
def test_files_stay_readable(name):
    """One concept a file, and a function that fits on a screen."""
    assert len(SOURCES[name].read_text().splitlines()) <= MOST_LINES
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef):
            assert lines_of(node) <= MOST_LINES_OF_FUNCTION, f"{node.name} has {lines_of(node)}"


def test_the_package_is_typed():
    assert (Path(vit_export.__file__).parent / "py.typed").exists()
