"""What is loaded for what: a help text and a device wait for nothing that they don't need."""

import sys

import pytest
from support import FASHION, run

from vit_export.cli import cli

IMAGE = FASHION / "images" / "bag_1.png"
HEAVY = {
    *("torch", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "onnxsim", "openvino", "tensorrt"),
    *("transformers", "timm", "torchvision", "einops", "torchinfo", "safetensors"),
    *("matplotlib", "PIL", "jinja2", "rich"),
}
DEVICE = {"onnxruntime", "PIL"}
"""What predicting and validating may load of these."""


def loaded_by(code, *arguments):
    """The heavy modules that `code` loads in a process of its own, and what it prints."""
    script = f"import sys\n{code}\nprint(*({HEAVY} & set(sys.modules)), file=sys.stderr)"
    done = run("-c", script, *arguments, command=sys.executable)
    return set(done.stderr.splitlines()[-1].split()), done.stdout


def test_the_check_can_fail():
    assert loaded_by("import onnxruntime") == ({"onnxruntime"}, "")


@pytest.mark.parametrize("module", ["vit_export", "vit_export.api", "vit_export.cli"])
def test_an_import_is_light(module):
    assert loaded_by(f"import {module}") == (set(), "")


def test_the_public_functions_are_light_until_they_are_called():
    code = "import vit_export\nfor name in vit_export.__all__: getattr(vit_export, name)"
    assert loaded_by(code) == (set(), "")


def test_help_is_light():
    code = (
        "from vit_export.cli import run\n"
        "codes = [run([*words, '--help']) for words in ([], *([one] for one in sys.argv[1:]))]\n"
        "assert not any(codes)"
    )
    heavy, text = loaded_by(code, *cli.commands)
    assert heavy == set()
    assert text.count("Usage: vit-export ") == 1 + len(cli.commands)


def test_models_and_doctor_are_light():
    code = "from vit_export.cli import run\nassert [run([one]) for one in sys.argv[1:]] == [0, 0]"
    heavy, text = loaded_by(code, "models", "doctor")
    assert heavy == set()
    assert "fashion_mnist" in text
    assert "torchscript" in text


@pytest.mark.parametrize("command", ["predict", "validate"])
def test_a_command_on_an_onnx_file_loads_what_a_device_has(fashion, command):
    images = [IMAGE] if command == "predict" else []
    code = "from vit_export.cli import run\nassert run(sys.argv[1:]) == 0"
    heavy, text = loaded_by(code, command, fashion.path["onnx"], *images)
    assert heavy == DEVICE
    assert {"predict": "Bag", "validate": "PROVEN"}[command] in text


def test_python_on_an_onnx_file_loads_what_a_device_has(fashion):
    code = (
        "import vit_export\n"
        "print(vit_export.predict(sys.argv[1], sys.argv[2:])[0].classes[0])\n"
        "print(vit_export.validate(sys.argv[1]).status)"
    )
    assert loaded_by(code, fashion.path["onnx"], IMAGE) == (DEVICE, "Bag\nPROVEN\n")
