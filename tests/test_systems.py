"""What a user's machine may be: one without fcntl, and one whose home nobody else writes to."""

import sys

import pytest
from support import FASHION, run

IMAGE = FASHION / "images" / "bag_1.png"
WINDOWS = (
    "import sys\n"
    "for name in ('fcntl', 'resource', 'pwd', 'grp', 'termios'): sys.modules[name] = None\n"
    "from vit_export.cli import run\n"
    "assert run(sys.argv[1:]) == 0"
)
SUPPRESS = (
    *("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI"),
    *("TRAVIS", "JENKINS_URL", "CODEBUILD_BUILD_ID", "BUILDKITE", "TEAMCITY_VERSION"),
    *("APPVEYOR", "BITBUCKET_BUILD_NUMBER"),
)
"""What keeps ONNX Runtime from its telemetry."""
PREDICT = (
    "import sys, time, {module}\n"
    "import vit_export\n"
    "vit_export.predict(sys.argv[1], sys.argv[2:]); time.sleep(3)"
)


@pytest.mark.parametrize("command", ["predict", "validate", "models"])
def test_commands_run_without_the_modules_of_unix(fashion, command):
    words = {"predict": (fashion.path["onnx"], IMAGE), "validate": (fashion.path["onnx"], "-q")}
    done = run("-c", WINDOWS, command, *words.get(command, ()), command=sys.executable)
    assert {"predict": "Bag", "validate": "PROVEN", "models": "fashion"}[command] in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("value", [None, "0"])
def test_onnxruntime_writes_nothing_into_the_home(fashion, tmp_path, monkeypatch, value):
    for name in SUPPRESS:
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", value)
    code = "import vit_export, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run("-c", code, command=sys.executable).stdout.strip() == (value or "1")
    if value is None:
        script = PREDICT.format(module="os")
        environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
        run("-c", script, fashion.path["onnx"], IMAGE, command=sys.executable, env=environment)
        assert not list(tmp_path.rglob("*"))
