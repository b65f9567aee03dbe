"""A TorchScript file needs LibTorch only: no Python, no einops, no path of this machine."""

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from support import FASHION, expect_error, need

import vit_export
from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.torchscript import session
from vit_export.validation.sample_set import remake_sample_set

PROGRAM = Path(__file__).with_name("libtorch.cpp")


@pytest.fixture
def path(fashion):
    return fashion.path["torchscript"]


def test_no_trace_of_python_is_inside(path):
    with zipfile.ZipFile(path) as archive:
        code = b"".join(archive.read(name) for name in archive.namelist())
    for trace in (b"einops", b"rearrange", b"site-packages", b"/home/", str(Path.cwd()).encode()):
        assert trace not in code


class Greedy:
    """A program for which there is too little memory: when it is opened, or when it runs."""

    def __init__(self, *, opens: bool) -> None:
        self.opens = opens

    def eval(self):
        return self if self.opens else self()

    def __call__(self, *_):
        message = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."
        raise RuntimeError(message)


@pytest.mark.parametrize("opens", [True, False])
def test_too_little_memory_is_no_fault_of_the_file(path, monkeypatch, opens):
    monkeypatch.setattr(session, "load_archive", lambda _: Greedy(opens=opens))
    image = FASHION / "images" / "bag_1.png"
    assert "out of memory" in expect_error("predict", path, image, exit_code=1)


def test_attention_is_one_operator(path):
    """The file is frozen and lowered; what LibTorch runs as one kernel stays one node."""
    with pytest.deprecated_call():  # the documentation says so
        graph = str(torch.jit.load(str(path)).inlined_graph)
    assert graph.count("aten::scaled_dot_product_attention") == 4
    assert "aten::einsum" not in graph
    assert "prim::GetAttr" not in graph


def test_the_manifest_is_inside(path):
    manifest = read_manifest(open_artifact(path), path)
    assert isinstance(manifest, Manifest)
    assert (manifest.target, manifest.model) == ("torchscript", "fashion_mnist")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """libtorch.cpp, compiled against the LibTorch inside the torch wheel."""
    compiler = shutil.which("g++")
    need("libtorch", present=compiler is not None, fix="apt-get install g++, or scripts/test --apt")
    from torch.utils.cpp_extension import include_paths, library_paths

    out = tmp_path_factory.mktemp("libtorch") / "libtorch"
    includes = [f"-I{folder}" for folder in include_paths()]
    libraries = [f for folder in library_paths() for f in (f"-L{folder}", f"-Wl,-rpath,{folder}")]
    command = [compiler, "-std=c++20", "-O1", PROGRAM, *includes, *libraries]
    command += ["-ltorch", "-ltorch_cpu", "-lc10", "-o", out]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_libtorch_answers_without_python(tmp_path, path, program):
    manifest = read_manifest(open_artifact(path), path)
    reference = manifest.reference
    samples = remake_sample_set(manifest).inputs
    samples.tofile(tmp_path / "images.f32")
    command = [program, path, *samples.shape[1:], tmp_path / "images.f32"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    answers = np.array([line.split() for line in done.stdout.splitlines()], np.float32)
    np.testing.assert_allclose(answers, reference.answers, atol=1e-5)


def test_a_program_computes_in_fp32_on_a_gpu_too(fashion, tmp_path, tiny_toml):
    """A trace keeps the flags of its convolution, TF32 last; a GPU would round fp32 to ten bits."""
    pixels = tmp_path / "a.pt"
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
        vit_export.torchscript(tiny_toml, pixels, preprocess="graph")
    for path in (fashion.path["torchscript"], pixels):
        with zipfile.ZipFile(path) as archive:
            codes = [archive.read(one).decode() for one in archive.namelist() if ".py" in one]
        flags = [call.split(", ")[-4:] for call in re.findall(r"_convolution\(([^)]*)\)", *codes)]
        assert flags == [["False", "False", "True", "False"]]
