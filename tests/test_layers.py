"""The house's order: a module imports only from the rows above its own."""

import ast
from pathlib import Path

import pytest
from support import ROOT

import vit_export

PACKAGE = ROOT / "vit_export"

# Top to bottom. A module may import from rows above its own, and from its own folder.
ROWS = [
    ["errors"],
    ["fieldtypes", "progress", "versions"],
    ["spec", "batch", "compare", "head", "judgement", "writing", "budget"],
    ["picture", "precision"],
    ["vit/preprocess"],
    ["vit/levels"],
    ["vit/processor"],
    ["labels", "classes", "image_files"],
    ["annotation"],
    ["image_set"],
    ["presets", "samples", "manifest", "verdict"],
    ["fed"],
    ["vit/eager"],
    ["vit/families"],
    ["vit/pickled"],
    ["vit/checkpoint", "vit/infer", "vit/weights"],
    ["vit/rewrites", "vit/reference", "vit/resample", "vit/outputs"],
    ["vit/lower_block"],
    ["vit/lower_last"],
    ["vit/lower"],
    ["vit/taps", "vit/pixels"],
    ["vit/filed"],
    ["graph/weightless", "graph/wire", "graph/repeat"],
    ["graph/nodes"],
    ["graph/attention", "graph/linear", "graph/writer", "graph/half"],
    ["graph/flops"],
    ["graph/census"],
    ["graph/passes", "graph/audit"],
    ["graph/pixels", "graph/answers"],
    ["graph/capture", "graph/simplify", "graph/optimize", "graph/save", "graph/rounded"],
    ["engine"],
    ["runtimes"],
    ["quantize"],
    ["targets"],
    ["examination", "proof", "prediction", "layers", "health", "page", "source", "request"],
    ["agreement"],
    ["trained", "live", "adaptation"],
    ["loading", "inspection", "remade"],
    ["location", "validation"],
    ["location_plot", "search_plot"],
    ["codegen"],
    ["speed/rows", "speed/contestants"],
    ["speed/sessions", "speed/modules", "speed/quantized"],
    ["speed/products", "speed/pt2e"],
    ["speed/openers"],
    ["speed/turns"],
    ["speed/linears"],
    ["search"],
    ["planning"],
    ["speed/limit", "speed/peers", "speed/worker", "speed/plot"],
    ["speed/accuracy"],
    ["speed/entrants"],
    ["speed/measure"],
    ["report"],
    ["judging"],
    ["building"],
    ["api"],
    ["cli"],
    ["__main__"],
]
TOP = {"__init__"}  # hands out the twins


def rows():
    return {name: number for number, row in enumerate(ROWS) for name in row}


def row_of(module):
    """The row of `vit/families/einops`: that of the longest prefix that is listed."""
    parts = module.split("/")
    for length in range(len(parts), 0, -1):
        found = rows().get("/".join(parts[:length]))
        if found is not None:
            return found, "/".join(parts[:length])
    return None, module


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")


def source_of(module):
    for path in (PACKAGE / f"{module}.py", PACKAGE / module / "__init__.py"):
        if path.exists():
            return path.read_text()
    raise AssertionError(module)


def imported(module):
    """Modules of the package that `module` imports anywhere but for the type checker alone."""
    tree = ast.parse(source_of(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vit_export."):
            base = node.module.removeprefix("vit_export.").replace(".", "/")
            for alias in node.names:
                inner = f"{base}/{alias.name}"
                yield inner if inner in set(modules()) else base


def test_every_module_has_a_row():
    packages = {"vit", "graph", "speed"}  # their __init__ holds a docstring only
    lost = [m for m in modules() if row_of(m)[0] is None and m not in TOP | packages]
    assert lost == []


@pytest.mark.parametrize("module", [m for m in modules() if row_of(m)[0] is not None])
def test_imports_come_from_above(module):
    row, group = row_of(module)
    for other in imported(module):
        other_row, other_group = row_of(other)
        assert other_group == group or other_row < row, f"{module} imports {other}"


def test_the_check_can_fail():
    assert row_of("api")[0] > row_of("vit/families/einops")[0]
    assert "runtimes/base" in set(imported("runtimes/onnxruntime"))


@pytest.mark.parametrize("word", ["print(", "import click", "torch.onnx.export"])
def test_what_has_one_place_stands_nowhere_else(word):
    allowed = {"import click": "cli/", "torch.onnx.export": "graph/capture", "print(": "\0"}[word]
    for module in modules():
        lines = source_of(module).splitlines()
        if not module.startswith(allowed.rstrip("/")):
            found = [line for line in lines if line.strip().startswith(word)]
            assert found == [], module


def test_files_stay_readable():
    """One concept a file, about 220 lines; a function fits on a screen."""
    for module in modules():
        source = source_of(module)
        assert len(source.splitlines()) <= 250, module
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert length <= 40, f"{module}: {node.name} has {length} lines"


def test_the_package_is_typed():
    assert (Path(vit_export.__file__).parent / "py.typed").exists()
