"""Artifacts that many tests open, built once, from the outside."""

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from captured_graphs import shared_captures
from fashion_images import write_images
from PIL import Image
from support import LazyDict, predict_classes, run

from vit_export.backends import BACKENDS
from vit_export.data.preprocessing import preprocess
from vit_export.model.vit.presets import load_preset

pytest_plugins = ("sweeps", "masked_cpu")

THREADS = max(os.cpu_count() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), 1)
"""Of a test and of the commands it runs: more than there are cores would wait for each other."""
torch.set_num_threads(THREADS)
# not as a default: a worker of xdist inherits what its parent set, and both have to be alike for
# a test and a command to write the same bytes
os.environ["OMP_NUM_THREADS"] = str(THREADS)
# a shell that starts tests in the background has Ctrl-C ignored, by all that they start too
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Exported:
    """Paths of the Fashion-MNIST model's artifacts, and what --json printed, by backend."""

    path: dict[str, Path]
    report: dict[str, dict]


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory) -> Path:
    """A folder of this run of the tests, the same for all workers of xdist."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


@pytest.fixture(scope="session", autouse=True)
def _own_cache(shared_root):
    """What the commands keep between runs is kept between tests, and not between test runs."""
    os.environ["VIT_EXPORT_CACHE"] = str(shared_root / "cache")


@pytest.fixture(scope="session", autouse=True)
def _captured_graphs(pytestconfig):
    """Each module is captured once for all tests that export it."""
    with shared_captures(pytestconfig.cache.mkdir("captured")):
        yield


@pytest.fixture(scope="session")
def shared_folder(shared_root) -> Callable[[str, Callable[[Path], None]], Path]:
    """`shared_folder(name, fill)`: a folder that `fill` fills once for all workers of xdist."""

    def share(name: str, fill: Callable[[Path], None]) -> Path:
        folder = shared_root / f"shared-{name}"
        folder.mkdir(exist_ok=True)
        with (shared_root / f"shared-{name}.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            if lock.read() != "full":
                shutil.rmtree(folder)  # a test that failed or was skipped may have left something
                folder.mkdir()
                fill(folder)
                lock.write("full")
        return folder

    return share


@pytest.fixture(scope="session")
def shared_exports(shared_folder) -> Callable[[str, Callable[[str], tuple]], LazyDict]:
    """`shared_exports(name, list_words)`: files and reports by key, exported once for all workers.

    `list_words(key)` is the command without its --out.
    """

    def share(name: str, list_words: Callable[[str], tuple]) -> LazyDict:
        def make(key: str) -> tuple[Path, dict]:
            command = list_words(key)
            label = key.replace(" ", "-")
            file, report = f"{label}{BACKENDS[command[0]].suffix}", "report.json"

            def fill(folder: Path) -> None:
                done = run(*command, "--out", folder / file, "-q", "--json")
                (folder / report).write_text(done.stdout)

            folder = shared_folder(f"{name}-{label}", fill)
            return folder / file, json.loads((folder / report).read_text())

        return LazyDict(make)

    return share


@pytest.fixture(scope="session")
def fashion(shared_folder) -> Exported:
    """The shipped model, exported by the command in a process of its own."""

    def export(folder: Path) -> None:
        with ThreadPoolExecutor() as pool:  # both at once: all workers wait for them
            list(pool.map(partial(export_to, folder), path))

    def export_to(folder: Path, backend: str) -> None:
        words = ("--model", "fashion_mnist", "--out", folder / path[backend].name, "--json")
        report = run(backend, *words, process=True)
        (folder / f"{backend}.json").write_text(report.stdout)

    path = {"onnx": Path("f.onnx"), "torchscript": Path("f.pt")}
    folder = shared_folder("fashion", export)
    return Exported(
        path={backend: folder / out.name for backend, out in path.items()},
        report={backend: json.loads((folder / f"{backend}.json").read_text()) for backend in path},
    )


@pytest.fixture(params=["onnx", "torchscript"])
def fashion_file(request, fashion) -> Path:
    """Each of the two artifacts in turn; tests that change it work on a copy."""
    return fashion.path[request.param]


@pytest.fixture(scope="session")
def fashion_subset() -> tuple[np.ndarray, np.ndarray]:
    """500 test images (500, 28, 28) and their labels (500,)."""
    with np.load(Path(__file__).with_name("data") / "fashion_mnist_500.npz") as data:
        return data["images"], data["labels"]


@pytest.fixture(scope="session")
def fashion_inputs(fashion_subset) -> np.ndarray:
    """The inputs (500, 1, 28, 28) of the model for these images."""
    steps = load_preset("fashion_mnist").preprocessing
    return np.stack([preprocess(Image.fromarray(image), steps) for image in fashion_subset[0]])


@pytest.fixture(scope="session")
def fashion_classes(fashion, fashion_inputs) -> np.ndarray:
    """The class (500,) that the fp32 file predicts for each of these images."""
    return predict_classes(fashion.path["onnx"], fashion_inputs)


@pytest.fixture
def few(fashion_subset) -> tuple[np.ndarray, np.ndarray]:
    """60 test images (60, 28, 28) and their labels (60,)."""
    images, labels = fashion_subset
    return images[:60], labels[:60].astype(int)


@pytest.fixture
def by_folder(tmp_path, few) -> Path:
    """Those 60 images as files, in sub-folders called after their classes."""
    return write_images(tmp_path / "images", *few)


@pytest.fixture
def flat(tmp_path, few) -> Path:
    """Those 60 images as files in one folder, 000.png to 059.png."""
    return write_images(tmp_path / "flat", few[0])


@pytest.fixture
def tiny_toml(tmp_path) -> Path:
    """A model that exports quickly: one block."""
    path = tmp_path / "small.toml"
    path.write_text(
        "[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\ndepth = 1\nheads = 3\nclasses = 5\n"
        "[preprocessing]\nresize = 16\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    )
    return path


@pytest.fixture
def tiny_export(tiny_toml):
    """Exports the tiny model: `tiny_export("onnx", out, ...)`."""

    def export(target, out, *arguments, **options):
        return run(target, "--model", tiny_toml, "--out", out, "-q", *arguments, **options)

    return export


@pytest.fixture
def unwritable(tmp_path) -> Path:
    """A folder where nobody can make a file, root included."""
    if os.geteuid() == 0:
        return Path("/proc")
    folder = tmp_path / "unwritable"
    folder.mkdir(mode=0o555)
    return folder


@pytest.fixture
def earlier_result(tmp_path) -> Iterator[Path]:
    """An earlier OUT, which the test must leave as it is, with nothing else beside it."""
    out = tmp_path / "f.onnx"
    out.write_text("an earlier result")
    yield out
    assert out.read_text() == "an earlier result"
    names = [path.name for path in tmp_path.iterdir()]
    assert [name for name in names if name.startswith((".", out.name))] == [out.name]
