"""Files in runtimes of other years, which have neither vit-export nor NumPy 2."""

import sys

import pytest
from other_runtimes import OLD_NUMPY, install, validate_elsewhere

from vit_export.backends.session import RunFailedError

pytestmark = pytest.mark.slow
NEWEST_PYTHON = {"1.16.3": 11} | dict.fromkeys(
    ("1.17.3", "1.18.1", "1.19.2", "1.20.1", "1.21.1"), 12
)
"""Minor version of the newest Python 3 with wheels of that ONNX Runtime and of NumPy 1.26."""
NEWEST_OPSET = {"1.16.3": 19, "1.17.3": 20, "1.18.1": 21, "1.19.2": 21, "1.20.1": 21, "1.21.1": 22}
COMMANDS = {
    "opset 18": ("--opset", "18"),
    "opset 20": ("--opset", "20"),
    "opset 21": ("--opset", "21"),
    "opset 22": ("--opset", "22"),
    "graph": ("--opset", "18", "--preprocess", "graph", "--head", "top5"),
    "int8": ("--opset", "18", "--precision", "int8"),
    "int4": ("--opset", "21", "--precision", "weights-int4"),
    "one": ("--opset", "18", "--batch", "1"),
    "one 20": ("--opset", "20", "--batch", "1"),
}


@pytest.fixture(scope="module")
def files(shared_exports):
    model = ("onnx", "--model", "fashion_mnist")
    return shared_exports("other-runtimes", lambda key: (*model, *COMMANDS[key]))


def run_in_onnxruntime(version, file):
    if sys.version_info.minor > NEWEST_PYTHON[version]:
        pytest.skip(f"onnxruntime {version} has no wheel for this Python")
    requirements = (f"onnxruntime=={version}", OLD_NUMPY)
    folders = [install(one, "old-onnxruntime") for one in requirements]
    return validate_elsewhere("onnxruntime", folders, file)


@pytest.mark.parametrize("version", NEWEST_OPSET)
@pytest.mark.parametrize("key", ["opset 18", "graph", "int8"])
def test_opset_18_runs_in_every_onnxruntime(files, key, version):
    verdict = run_in_onnxruntime(version, files[key][0])
    assert verdict.accepted, verdict.problems
    assert version in verdict.runtime


@pytest.mark.parametrize("version", NEWEST_OPSET)
@pytest.mark.parametrize("opset", [20, 21, 22])
def test_an_opset_opens_where_it_is_known(files, opset, version):
    """The table in docs/deployment.md."""
    file = files[f"opset {opset}"][0]
    if opset <= NEWEST_OPSET[version]:
        assert run_in_onnxruntime(version, file).accepted
    else:
        with pytest.raises(RunFailedError, match=r"opset|IR version"):
            run_in_onnxruntime(version, file)


@pytest.mark.parametrize("version", ["1.18.1", "1.19.2"])
def test_four_bits_need_1_19(files, version):
    if version == "1.18.1":
        with pytest.raises(RunFailedError, match="NOT_IMPLEMENTED"):
            run_in_onnxruntime(version, files["int4"][0])
    else:
        assert run_in_onnxruntime(version, files["int4"][0]).accepted


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="NumPy 1.26 has no wheel for it")
@pytest.mark.parametrize("version", ["4.11.0.86", "5.0.0.93"])
@pytest.mark.parametrize("key", ["one", "one 20"])
def test_a_file_for_one_image_runs_in_opencv(files, key, version):
    numpy = OLD_NUMPY if version.startswith("4.11") else "numpy==2.2.6"
    requirements = (f"opencv-python-headless=={version}", numpy)
    folders = [install(one, "opencv") for one in requirements]
    assert validate_elsewhere("opencv", folders, files[key][0]).accepted
