"""What the README says is so: its commands, its Python, its figures, its transcript."""

import re
import subprocess
import sys

import pytest
from support import FASHION, ROOT, run

README = (ROOT / "README.md").read_text()


def test_the_table_of_commands_is_what_help_says():
    run(ROOT / "scripts" / "readme_commands.py", "--check", command=sys.executable)


def test_a_stale_table_is_noticed(tmp_path):
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "readme_commands.py"
    script.write_text((ROOT / "scripts" / "readme_commands.py").read_text())
    (tmp_path / "README.md").write_text(README.replace("| `vit-export models` |", "| `models` |"))
    done = run(script, "--check", command=sys.executable, exit_code=1)
    assert "Fix: python scripts/readme_commands.py" in done.stderr


def test_the_python_example_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 13
    (tmp_path / "models").symlink_to(ROOT / "models")
    done = run("-c", code, command=sys.executable, cwd=tmp_path)
    assert done.stdout.startswith("PROVEN")
    assert "Bag" in done.stdout


def test_every_file_it_links_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_figures_agree():
    (card,) = re.findall(r"\*\*([\d.]+) %\*\*", (FASHION / "README.md").read_text())
    assert f"{card} %" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_the_transcripts_of_the_families():
    run(ROOT / "scripts" / "readme_families.py", "--check", command=sys.executable)


@pytest.mark.slow
def test_the_transcript_is_that_of_the_demo():
    done = subprocess.run(
        [ROOT / "scripts" / "demo"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    (transcript,) = re.findall(r"<!-- transcript.*?```\n(.*?)```", README, re.DOTALL)
    told = {line.strip() for line in done.stdout.splitlines()}
    commands = [line for line in transcript.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 4
    assert set(commands) <= told
    predictions = [line.strip() for line in transcript.splitlines() if ".png" in line]
    assert {line for line in predictions if not line.startswith("$")} <= told
