"""What test files share: running commands, small models, files in other runtimes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from in_process import run_here

from vit_export import Rotary, VitSpec
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.core import numerics
from vit_export.validation.sample_set import remake_sample_set

ROOT = Path(__file__).resolve().parent.parent
COMMAND = str(Path(sys.executable).with_name("vit-export"))
READ_AT_START = ("PYTHON", "LD_", "OMP_")
"""Prefixes of environment variables that a process reads when it starts, and never again."""
FASHION = ROOT / "models" / "fashion_mnist"
TAMPERING = Path(__file__).with_name("tampering.py")

TINY = {
    "image_size": (16, 24),
    "patch_size": 8,
    "width": 24,
    "depth": 2,
    "heads": 3,
    "classes": 5,
}
SEED_STYLE = {
    "qkv_layout": "interleaved",
    "attention_scale": "width",
    "norm_before_pool": False,
    "norm_after_pool": True,
    "norm_eps": 1e-5,
    "pool": "mean",
}
VARIANTS = {
    "paper": {},
    "seed": SEED_STYLE,
    "one channel": {"channels": 1},
    "no class token": {"class_token": False, "pool": "patch_mean"},
    "features": {"classes": None},
    "projection": {"classes": None, "projection": 7, "norm_before_blocks": True},
    "swiglu, layer scale": {"mlp": "swiglu", "mlp_hidden": 20, "layer_scale": True},
    "quick gelu, no biases": {
        "mlp": "quick_gelu",
        "qkv_bias": False,
        "patch_bias": False,
        "head_bias": False,
    },
    "gelu tanh": {"mlp": "gelu_tanh", "mlp_ratio": 2.5},
    "distilled": {"distillation_token": True},
    "registers": {"register_tokens": 4, "pool": "patch_mean", "norm_after_pool": True},
    "registers without positions": {"register_tokens": 2, "positions": "no_registers"},
    "token and patches": {"pool": "token_patch_mean"},
    "attention pooling": {"class_token": False, "pool": "map", "classes": None},
    "attention pooling, classes": {"pool": "map", "mlp": "gelu_tanh"},
    "tokens": {"pool": "none", "classes": None},
    "tokens without a norm": {"pool": "none", "classes": None, "norm_before_pool": False},
    "distilled features": {"distillation_token": True, "classes": None},
    "image with a rim": {"image_size": (20, 29)},
    "patch positions": {"register_tokens": 1, "positions": "patches"},
    "rotary": {"rotary": Rotary(), "positions": "none", "register_tokens": 2},
    "rotary, mean": {
        "rotary": Rotary(coordinates="indices", pairs="interleaved", reference_grid=(5, 4)),
        "pool": "patch_mean",
        "mlp": "swiglu",
        "norm_in_attention": True,
        "norm_in_mlp": True,
    },
    "rotary, learned": {
        "rotary": Rotary(frequencies="learned", coordinates="indices", first="columns"),
        "qkv_layout": "interleaved",
    },
    "attention pooling, other widths": {"pool": "map", "pool_heads": 2, "pool_hidden": 20},
}


def tiny_spec(**changes: object) -> VitSpec:
    """A ViT of a few thousand parameters."""
    return VitSpec(**(TINY | changes))


def run(
    *arguments: object,
    exit_code: int | None = 0,
    process: bool = False,
    command: str = COMMAND,
    **options: object,
) -> subprocess.CompletedProcess[str]:
    """`vit-export ARGUMENTS`, which has to end with `exit_code`.

    It runs in this process, unless the test asks for `process`, names another command, or gives an
    option or a variable that only a process has. `env` and `cwd` are possible in both ways.
    """
    words = [str(argument) for argument in arguments]
    environment = {"COLUMNS": "200", **options.pop("env", {})}
    alone = process or command != COMMAND or options.keys() - {"cwd"}
    if alone or any(name.startswith(READ_AT_START) for name in environment):
        done = subprocess.run(
            [command, *words],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | environment,
            **options,
        )
    else:
        done = run_here(words, environment, options.get("cwd", "."))
    text = f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in text, text
    if exit_code is not None:
        assert done.returncode == exit_code, text
    return done


def run_json(*arguments: object, **options: object) -> object:
    """The document that the command prints with --json."""
    return json.loads(run(*arguments, "--json", **options).stdout)


def expect_error(*arguments: object, exit_code: int, **options: object) -> str:
    """The message and the fix of a command that has to fail with one error and no traceback."""
    done = run(*arguments, exit_code=exit_code, **options)
    lines = [line for line in done.stderr.splitlines() if line.startswith(("Error: ", "Fix: "))]
    assert [line.split(":")[0] for line in lines] == ["Error", "Fix"], done.stderr
    return " ".join(lines)


def mark_slow_except(values: Iterable[object], *everyday: object) -> list[object]:
    """Parameters of a test, of which only `everyday` run every day: the others are slow."""
    slow = pytest.mark.slow
    return [v if v in everyday else pytest.param(v, marks=slow) for v in values]


class LazyDict(dict):
    """A dictionary whose values are made when they are first read: `make(key)`."""

    def __init__(self, make: Callable[[str], object]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> object:
        self[name] = self._make(name)
        return self[name]


def need(name: str, *, present: bool, fix: str) -> None:
    """Skip a test where something is missing, and say so; fail it where that is required."""
    if present:
        return
    message = f"{name} is not here. Fix: {fix}"
    if name in os.environ.get("VIT_EXPORT_REQUIRE", "").split(","):
        pytest.fail(message)
    pytest.skip(message)


def build_with_tensorrt(path, shape) -> int:
    """Size in bytes of the engine that TensorRT for RTX builds from an ONNX file; needs no GPU.

    `shape` is that of one image. The parser has to know every node.
    """
    need("tensorrt-rtx", present=find_spec("tensorrt_rtx") is not None, fix="pip install '.[test]'")
    import tensorrt_rtx as tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    flag = tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    parser = tensorrt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(str(path))
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("image", *((size, *shape) for size in (1, 2, 16)))
    config.add_optimization_profile(profile)
    return builder.build_serialized_network(network, config).nbytes


def predict_classes(path: Path, inputs: np.ndarray) -> np.ndarray:
    """The top class (M,) of each of `inputs` (M, C, H, W), which run alone."""
    session = open_artifact(path)
    return np.array([session.run(one[None]).argmax() for one in inputs])


def snr_db(reference: np.ndarray, answer: np.ndarray) -> float:
    """How near one answer is to another, in dB of the reference's own size."""
    size = float(np.sqrt(np.square(reference.astype(np.float64)).mean()))
    return numerics.snr_db(size, reference, answer)


def measure_snr_in_openvino(path: Path) -> float:
    """The least signal-to-noise ratio in dB of an ONNX file in OpenVINO, on its own samples."""
    need("openvino", present=find_spec("openvino") is not None, fix="pip install '.[test]'")
    import openvino

    manifest = read_manifest(open_artifact(path), path)
    samples = remake_sample_set(manifest).inputs
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return min(
        snr_db(expected, compiled([image[None]])[0][0])
        for image, expected in zip(samples, manifest.reference.answers, strict=True)
    )
