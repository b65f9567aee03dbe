"""What README.md and docs/ say is so: commands, Python, figures, transcripts, names of files."""

import re
import shutil
import subprocess
import sys
from dataclasses import fields

import pytest
from PIL import Image
from support import FASHION, ROOT, run

from vit_export.artifact.manifest import KEYS, Manifest
from vit_export.data import annotations, decode, image_checks, label_file, preprocessing
from vit_export.data.label_file import read_labels

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *DOCS)}
PATHS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in DOCS)]


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= 200


def test_generated_tables_are_current():
    run(ROOT / "scripts" / "docs_commands.py", "--check", command=sys.executable)


@pytest.mark.parametrize(
    ("page", "stale"),
    [
        ("README.md", "| `vit-export trt` |"),
        ("docs/cli.md", "--min-snr"),
        ("docs/python.md", "io_fp16"),
    ],
)
def test_a_stale_table_is_noticed(page, stale, tmp_path):
    scripts = ("scripts/docs_commands.py", "scripts/docs_regions.py")
    for name in ("README.md", "docs/cli.md", "docs/python.md", *scripts):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    text = (tmp_path / page).read_text()
    assert stale in text
    (tmp_path / page).write_text(text.replace(stale, "old"))
    script = tmp_path / "scripts" / "docs_commands.py"
    done = run(script, "--check", command=sys.executable, exit_code=1)
    assert page in done.stderr
    assert "Fix: python scripts/docs_commands.py" in done.stderr


def test_a_page_without_a_place_for_its_table_is_noticed(tmp_path):
    (tmp_path / "scripts").mkdir()
    for name in ("docs_commands.py", "docs_regions.py"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / "README.md").write_text("nothing generated")
    done = run(tmp_path / "scripts" / "docs_commands.py", command=sys.executable, exit_code=1)
    assert "README.md: no place for targets" in done.stderr


@pytest.mark.parametrize("page", PATHS)
def test_each_generated_part_names_the_script_that_writes_it(page):
    text = (ROOT / page).read_text()
    for name, script in re.findall(r"<!-- (\w+): (scripts/\S+) -->", text):
        assert f"<!-- end of {name} -->" in text
        if script.endswith(".py"):
            assert f'"{name}"' in (ROOT / script).read_text(), name


PYTHON = {
    f"{name} {number}": code
    for name, text in PAGES.items()
    if name != "README.md"
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # torch's own
@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON)
def test_python_examples_run(code, tmp_path, monkeypatch, capsys):
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 the documentation's own
    assert re.search("^PROVEN", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow  # an export in a process of its own
def test_the_python_example_of_the_readme_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 8
    (tmp_path / "models").symlink_to(ROOT / "models")
    done = run("-c", code, command=sys.executable, cwd=tmp_path)
    assert done.stdout.startswith("PROVEN")
    assert "Bag" in done.stdout


@pytest.mark.parametrize("page", PATHS)
def test_linked_files_exist(page):
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in DOCS)]
)
def test_named_files_exist(page):
    text = (ROOT / page).read_text()
    for path in re.findall(r"`((?:vit_export|scripts|tests|docs|models)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_a_broken_link_and_a_broken_anchor_fail_the_build(tmp_path):
    for name in ("README.md", "CONTRIBUTING.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page = tmp_path / "docs" / "precision.md"
    page.write_text(page.read_text() + "[a](nowhere.md) [b](cli.md#nowhere)\n")
    build = ("-m", "mkdocs", "build", "--strict")
    done = run(*build, command=sys.executable, cwd=tmp_path, exit_code=1)
    assert "nowhere.md" in done.stderr
    assert "#nowhere" in done.stderr


def test_the_speed_of_the_readme_is_that_of_the_benchmarks():
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| (\d+%) \| (.*) \|$", README, re.MULTILINE)
    assert len(rows) == 3
    table = _rows_of("baselines", PAGES["benchmarks.md"])
    models = table["latency / vit-export's, median (95% interval)"]
    for model, latency_ms, of_limit, ratios in rows:
        column = models.index(f"`{model}`, batch 1")
        assert table["vit-export, ms"][column] == latency_ms
        assert table["vit-export, share of the machine's limit"][column] == of_limit
        others = ("eager", "compile", "onnxruntime-plain", "openvino")
        assert ratios.split(" | ") == [table[name][column].split()[0] for name in others]


def _rows_of(region, text):
    (table,) = re.findall(rf"<!-- {region}: .*?-->\n(.*?)\n\n", text, re.DOTALL)
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {first: rest for first, *rest in cells}


def test_the_stages_of_the_guide_are_those_of_an_export():
    _, table = PAGES["architecture.md"].split("| stage | takes |")
    stages = re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE)
    code = (ROOT / "vit_export" / "api" / "export.py").read_text()
    assert len(stages) == 9
    assert [stage for stage in stages if f" {stage}(" not in code] == []


def test_every_sweep_has_its_last_run():
    files = (path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    sweeps = {name for text in files for name in re.findall(r'mark\.sweep\("([\w-]+)"', text)}
    _, table = CONTRIBUTING.split("| sweep | cases |")
    rows = [row.split(" | ") for row in table.partition("\n\n")[0].splitlines()[2:]]
    assert {row[0].split("`")[1] for row in rows} == sweeps
    for _, cases, last, _ in rows:
        assert re.search(r"^[0-9a-f]{7}, \d{4}-\d\d-\d\d: ", last), last
        assert cases == "1" or f" {cases} passed " in last


def test_the_keys_of_the_manifest_are_listed():
    _, section = PAGES["deployment.md"].split("## The manifest")
    listed = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    keys = {key for cell in listed for key in re.findall(r"`(\w+)`", cell)}
    assert keys == {KEYS.get(field.name, field.name) for field in fields(Manifest)}


IMAGES = PAGES["images-and-labels.md"]
CODE = "".join(path.read_text() for path in (ROOT / "vit_export" / "data").glob("*.py"))


@pytest.mark.parametrize("row", re.findall(r"^\| (.*) \| `(.*)` \|$", IMAGES, re.MULTILINE))
def test_the_page_on_images_quotes_messages_and_understands_its_forms(tmp_path, row):
    what, quoted = row
    if "tench" not in quoted:
        assert quoted in CODE, what
        return
    (tmp_path / "labels.txt").write_text(quoted)
    names = ("tench", "goldfish")[: 1 + quoted.count("goldfish")]
    assert read_labels(tmp_path / "labels.txt", len(names)) == names


def test_the_page_on_images_has_the_bounds_of_the_code():
    assert f"more than {Image.MAX_IMAGE_PIXELS:,} pixels" in IMAGES
    assert f"more than {image_checks.MAX_SCANS} scans" in IMAGES
    assert f"more than {preprocessing.MAX_ASPECT_RATIO} times the other" in IMAGES
    for limit in (decode.MAX_FILE_BYTES, label_file.MAX_LABEL_BYTES, annotations.MAX_CSV_BYTES):
        assert f"more than {limit >> 20} MiB" in IMAGES
    assert all(kind in IMAGES for kind in re.findall(r"\w+", decode.KINDS.replace(" or ", " ")))


def test_the_accuracy_of_the_trained_model_agrees():
    (card,) = re.findall(r"\*\*([\d.]+) %\*\*", (FASHION / "README.md").read_text())
    assert f"{card} %" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
@pytest.mark.sweep("transcripts")
def test_transcripts_of_checkpoints_are_current():
    run(ROOT / "scripts" / "docs_families.py", "--check", command=sys.executable)


@pytest.mark.slow
def test_the_transcript_of_the_demo_is_current():
    done = subprocess.run(
        [ROOT / "scripts" / "demo"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    (transcript,) = re.findall(
        r"<!-- transcript.*?```console\n(.*?)```", PAGES["index.md"], re.DOTALL
    )
    printed = {line.strip() for line in done.stdout.splitlines()}
    commands = [line for line in transcript.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 4
    assert set(commands) <= printed
    predictions = [line.strip() for line in transcript.splitlines() if ".png" in line]
    assert {line for line in predictions if not line.startswith("$")} <= printed
