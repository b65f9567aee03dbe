"""`vit-export trt` from outside: engines that TensorRT for RTX builds without a GPU."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from importlib.util import find_spec

import numpy as np
import onnx_ir as ir
import own_modules
import pytest
from support import (
    COMMAND,
    FASHION,
    expect_error,
    mark_slow_except,
    need,
    run,
    run_json,
    tiny_spec,
)

import vit_export
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.backends.tensorrt import engine as engine_module
from vit_export.backends.tensorrt.builder import parse_graph
from vit_export.backends.tensorrt.cuda import find_gpu
from vit_export.backends.tensorrt.sidecar import graph_path, read_sidecar
from vit_export.backends.tensorrt.variant import load_library
from vit_export.backends.tensorrt.variants import RTX as RTX_VARIANT
from vit_export.core.errors import ProofError
from vit_export.model.vit.state import random_vit

CALIBRATION = FASHION / "images"
OPTIONS = {
    "fp32": (),
    "fp16": ("--fp16",),
    "bf16": ("--bf16",),
    "int8-static": ("--int8", "--calibration", CALIBRATION),
    "weights-int8": ("--precision", "weights-int8"),
    "weights-int4": ("--precision", "weights-int4", "--opset", "21"),
}
ARITHMETIC = {
    "fp32": "fp32",
    "fp16": "fp16",
    "bf16": "bf16",
    "int8-static": "int8",
    "weights-int8": "fp32 x int8",
    "weights-int4": "fp32 x int4",
}
BATCH = ("--batch", "1:8:16")
RTX = ("--engine", "rtx")

pytestmark = pytest.mark.skipif(
    find_gpu() is not None, reason="what happens without a GPU; with one: tests/test_gpu.py"
)


@pytest.fixture(autouse=True)
def _tensorrt():
    present = find_spec("tensorrt_rtx") is not None
    need("tensorrt-rtx", present=present, fix="pip install '.[test]'")


@pytest.fixture(scope="module")
def built(shared_exports):
    """An engine of each precision with its graph beside it, and the report of its export."""
    if find_spec("tensorrt_rtx") is None:
        return {}

    def list_words(name):
        return ("trt", "--model", "fashion_mnist", *OPTIONS[name], *BATCH, "--save-onnx")

    return shared_exports("engine", list_words)


EVERY_NAME = pytest.mark.parametrize(
    "name", mark_slow_except(OPTIONS, "fp32", "fp16", "int8-static")
)


@EVERY_NAME
def test_an_engine_is_built_and_its_graph_proven(name, built):
    out, report = built[name]
    verdict = report["verdict"]
    assert verdict["status"] == "BUILT, NOT RUN"
    assert verdict["not_run"] == "no GPU here"
    assert verdict["precision"] == name
    assert verdict["batches"] == [1, 2, 3, 8, 16]
    assert verdict["problems"] == []
    assert out.read_bytes()[1:4] == b"trt"
    expected = {f"{name}.engine{suffix}" for suffix in ("", ".json", ".onnx")}
    assert {path.name for path in out.parent.glob(f"{name}.*")} == expected
    assert "not checkable here" in " ".join(report["notes"])


@EVERY_NAME
def test_the_manifest_beside_an_engine(name, built):
    out, report = built[name]
    text = (out.parent / f"{out.name}.json").read_text()
    assert '"engine_run": false' in text
    document = json.loads(text)
    engine = document["engine"]
    assert (engine["kind"], engine["profiles"]) == ("rtx", ["1:8:16"])
    assert engine["version"] == document["versions"]["tensorrt-rtx"]
    assert engine["sha256"] == sha256(out.read_bytes()).hexdigest()
    assert engine["size_bytes"] == out.stat().st_size
    graph = out.with_name(f"{out.name}.onnx")
    assert engine["graph_sha256"] == sha256(graph.read_bytes()).hexdigest()
    products = engine["precisions"]
    assert max(products, key=products.get) == ARITHMETIC[name]
    tensors = {one["name"]: (one["mode"], one["shape"]) for one in engine["inputs and outputs"]}
    assert tensors == {"image": ("input", [-1, 1, 28, 28]), "logits": ("output", [-1, 10])}
    assert document["labels"][0] == "T-shirt/top"
    assert document["preprocessing"]["crop"] == [28, 28]
    assert len(document["reference"]["recipes"]) == 8
    manifest = read_sidecar(out)
    assert manifest.reference.answers.shape == (8, 10)
    assert str(manifest.batch) == "1:8:16"
    assert report["size_bytes"] >= out.stat().st_size


@pytest.mark.parametrize("name", ["fp16", "int8-static"])
def test_the_graph_of_an_engine_is_an_artifact_of_its_own(name, built):
    out, _ = built[name]
    graph = out.with_name(f"{out.name}.onnx")
    assert run_json("validate", graph, "-q")["status"] == "PROVEN"
    inside = read_manifest(open_artifact(graph), graph)
    assert inside.target == "onnx"
    assert inside.engine["kind"] == "rtx"
    assert inside.engine["profiles"] == ["1:8:16"]
    beside = read_sidecar(out)
    assert np.array_equal(inside.reference.answers, beside.reference.answers)
    assert inside.weights_sha256 == beside.weights_sha256


@pytest.mark.slow
def test_smaller_precisions_are_smaller_files(built):
    """At least half of the 3.2 MB of weights in fp32 goes; kernels for casts need some of that."""
    size = {name: out.stat().st_size for name in OPTIONS for out in built[name][:1]}
    for name in set(OPTIONS) - {"fp32"}:
        assert size["fp32"] - size[name] > 0.5e6, name


def test_the_report_in_words(tmp_path):
    out = tmp_path / "f.engine"
    done = run("trt", "--model", "fashion_mnist", "--fp16", *RTX, "--gpu", "ada", "--out", out)
    sentence = done.stdout[done.stdout.index("BUILT, NOT RUN") :]
    assert "graph proven on CPU at " in sentence
    assert " dB; engine built, not run: no GPU here." in sentence
    assert "for compute capability 8.9" in sentence
    assert "matmuls: " in sentence
    assert "build in TensorRT for RTX" in done.stderr
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["f.engine", "f.engine.json"]


def test_turing_in_fp16(tmp_path):
    arguments = ("--model", "fashion_mnist", "--fp16", *RTX, "--gpu", "turing,ada")
    report = run_json("trt", *arguments, "--out", tmp_path / "f.engine", "-q")
    assert report["verdict"]["status"] == "BUILT, NOT RUN"


def test_auto_reports_its_choice(tmp_path):
    report = run_json("trt", "--model", "fashion_mnist", "--out", tmp_path / "f.engine", "-q")
    notes = "\n".join(report["notes"])
    assert re.search(
        r"^engine: TensorRT for RTX .* 8\.0, 8\.6, 8\.9, 12\.0, 12\.1$", notes, re.MULTILINE
    )
    assert any(note.startswith("passed over: tensorrt: ") for note in report["notes"])
    profile = read_sidecar(tmp_path / "f.engine").engine["profiles"]
    assert profile == ["1:8:16"]  # the default, --batch dynamic


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_of_a_module_of_your_own(tmp_path, precision):
    """Clips, whose tokens attend to each other; the graph says where an engine would differ."""
    path, own = tmp_path / "f.engine", ("--module", f"{own_modules.__file__}:Video")
    words = ("--input", "3x4x16x16", "--precision", precision, "--save-onnx", *RTX)
    document = run_json("trt", *own, *words, "--out", path, "-q")
    assert document["verdict"]["status"] == "BUILT, NOT RUN"
    assert run_json("locate", f"{path}.onnx", *own, "-q")["first"] is None
    text = expect_error("locate", path, *own, exit_code=2)
    assert "its modules can't answer one by one" in text
    assert "is not checkable here" in expect_error("validate", path, *own, exit_code=3)


@pytest.mark.slow
def test_an_engine_of_a_module_in_int8_is_refused(tmp_path):
    own = ("--module", f"{own_modules.__file__}:Net", "--image-size", 32)
    words = (*own, "--precision", "weights-int8", *RTX, "--out", tmp_path / "f.engine")
    assert "trt of a module of your own" in expect_error("trt", *words, exit_code=2)


def test_several_profiles(tmp_path):
    out = tmp_path / "f.engine"
    batches = ("--batch", "1:1:2", "--batch", "4:8:8")
    report = run_json("trt", "--model", "fashion_mnist", *RTX, *batches, "--out", out, "-q")
    assert report["verdict"]["batches"] == [1, 2, 4, 8]
    manifest = read_sidecar(out)
    assert manifest.engine["profiles"] == ["1:1:2", "4:8:8"]
    assert not manifest.batch.takes(3)


def test_the_python_function(tmp_path):
    spec = tiny_spec()
    model = spec, random_vit(spec, 0).state_dict()
    result = vit_export.trt(
        model, tmp_path / "a.engine", fp16=True, engine="rtx", batch=["1", "2:2:4"], gpu="8.6"
    )
    assert result.verdict.status == "BUILT, NOT RUN"
    assert read_sidecar(result.path).engine["capabilities"] == ["8.6"]
    assert result.size_bytes > result.path.stat().st_size  # the manifest is included


def test_accuracy_on_images_comes_from_the_graph(tmp_path):
    arguments = ("--model", "fashion_mnist", "--fp16", "--images", CALIBRATION)
    report = run_json("trt", *arguments, "--out", tmp_path / "f.engine", "-q")
    assert report["images"]["agreement"]["hits"] == 20


def test_a_live_module_with_heads_of_96(tmp_path):
    """TensorRT has no attention kernel for 96; it takes the decomposed form."""
    spec = tiny_spec(width=192, heads=2, depth=1)
    model = spec, random_vit(spec, 0).state_dict()
    for precision in ("fp32", "fp16"):
        result = vit_export.trt(model, tmp_path / "f.engine", precision=precision, engine="rtx")
        assert result.verdict.status == "BUILT, NOT RUN"


def test_inspect_shows_whether_an_engine_loads_here(built):
    out, _ = built["fp16"]
    report = run_json("inspect", out)
    assert report["family"] == "trt, fp16, batch 1:8:16"
    assert report["metadata"]["engine: loads here"].startswith("no: ")
    assert report["metadata"]["engine: run where it was built"] == "no"
    graph = run_json("inspect", out.with_name(f"{out.name}.onnx"))
    assert graph["audit"]["macs"]["fp16"] > 0
    assert graph["metadata"]["engine: kind"] == "rtx"


def test_doctor_names_the_gpu_and_the_variants():
    (health,) = [one for one in run_json("doctor") if one["target"] == "trt"]
    assert health["works"]
    assert "GPU: none. Engines: tensorrt: " in health["note"]
    assert "rtx: yes" in health["note"]


@pytest.fixture
def engine(built, tmp_path):
    """A copy of an engine and its manifest, to spoil."""
    source, _ = built["fp16"]
    out = tmp_path / "f.engine"
    shutil.copy(source, out)
    shutil.copy(f"{source}.json", f"{out}.json")
    return out


def test_commands_on_a_machine_without_a_gpu(engine):
    for command in (("validate",), ("bench",), ("predict", FASHION / "images" / "bag_1.png")):
        name, *rest = command
        error = expect_error(name, engine, *rest, exit_code=3)
        assert "not checkable here: no GPU here" in error
    assert json.loads(run("validate", engine, "--json", exit_code=3).stdout)["exit_code"] == 3
    assert "--save-onnx" in expect_error("locate", engine, exit_code=2)


def change_record(engine, **values):
    """Change fields of the engine's record in the manifest beside it."""
    path = engine.with_name(f"{engine.name}.json")
    document = json.loads(path.read_text())
    document["engine"] |= values
    path.write_text(json.dumps(document))


def test_an_engine_of_another_version(engine):
    change_record(engine, version="1.2.3.4")
    error = expect_error("validate", engine, exit_code=3)
    assert "built by TensorRT for RTX 1.2.3.4, and " in error
    assert "pip install tensorrt-rtx==1.2.3.4" in error


def test_an_engine_of_a_library_that_is_not_installed(engine):
    need("no tensorrt", present=find_spec("tensorrt") is None, fix="it is installed here")
    change_record(engine, kind="tensorrt", version="10.13.3.9")
    assert "pip install tensorrt==10.13.3.9" in expect_error("validate", engine, exit_code=3)


def test_a_damaged_engine(engine):
    content = engine.read_bytes()
    engine.write_bytes(content[: len(content) // 2])
    assert "is cut off" in expect_error("validate", engine, exit_code=2)
    engine.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "damaged" in expect_error("validate", engine, exit_code=2)


def test_an_engine_without_its_manifest(engine):
    path = engine.with_name(f"{engine.name}.json")
    document = json.loads(path.read_text())
    path.unlink()
    error = expect_error("validate", engine, exit_code=2)
    version = document["engine"]["version"]
    assert f"an engine of TensorRT {version}, and f.engine.json is not beside it" in error
    others = {name: value for name, value in document.items() if not name.startswith("engine")}
    path.write_text(json.dumps(others))
    assert "describes no engine" in expect_error("inspect", engine, exit_code=2)
    path.write_bytes(b"\xff\xfe")
    assert "can't be read: it is not UTF-8 text" in expect_error("inspect", engine, exit_code=2)
    path.write_text(json.dumps(document | {"engine": {"kind": "rtx"}}))
    error = expect_error("validate", engine, exit_code=2)
    assert "engine.version is missing" in error


def test_a_foreign_file_beside_a_zip(tmp_path, fashion):
    """X.json beside X may be anything: X is what its own bytes say."""
    path = tmp_path / "f.pt"
    shutil.copy(fashion.path["torchscript"], path)
    for content in (b"\xff\xfe", b"[]", b'{"engine": 1}'):
        (tmp_path / "f.pt.json").write_bytes(content)
        assert open_artifact(path).manifest_json()


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (("--fp16", "--precision", "int8-static"), 2, "fp16 and int8-static are requested at once"),
        (("--int8",), 2, "--calibration DIR"),
        (("--precision", "int8"), 2, "trt has no int8"),
        (("--batch", "8:4:2"), 2, "the sizes must rise"),
        (("--batch", "1", "--batch", "dynamic"), 2, "dynamic stands alone"),
        (("--gpu", "amper"), 2, "Did you mean 'ampere'?"),
        ((*RTX, "--level", "5"), 2, "--level means nothing with --engine rtx"),
        ((*RTX, "--gpu", "turing,ada"), 2, "take --fp16, or leave turing out of --gpu"),
        ((*RTX, "--bf16", "--gpu", "7.5"), 2, "matmuls are compiled in fp16 alone"),
        ((*RTX, "--timing-cache", "cache"), 2, "--timing-cache means nothing"),
        ((*RTX, "--hardware", "ampere-plus"), 2, "--hardware means nothing"),
        ((*RTX, "--version-compatible"), 2, "--version-compatible means nothing"),
        ((*RTX, "--strip-weights"), 2, "--save-onnx"),
        ((*RTX, "--refit"), 3, "needs a GPU"),
        (("--engine", "tensorrt"), 3, "Fix: "),
        (("--require-run",), 3, "no GPU here"),
        (("--workspace", "-1"), 2, "take 0 to 1000000"),
        (("--workspace", "1"), 1, "--workspace more MB"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, options, exit_code, message):
    arguments = ("trt", "--model", "fashion_mnist", *options, "--out", tmp_path / "f.engine", "-q")
    assert message in expect_error(*arguments, exit_code=exit_code)
    assert not list(tmp_path.iterdir())


def test_only_engines_have_several_profiles(tmp_path):
    arguments = ("onnx", "--batch", "1", "--batch", "4:8:8", "--out", tmp_path / "f.onnx")
    assert "take --batch 1:1:8" in expect_error(*arguments, exit_code=2)


def test_a_refused_node_is_named(tmp_path):
    arguments = ("--precision", "weights-int4", "--opset", "21", "--for", "onnxruntime")
    out = tmp_path / "f.engine"
    error = expect_error(
        "trt", "--model", "fashion_mnist", *arguments, "--out", out, "-q", exit_code=1
    )
    assert "(MatMulNBits) of the module blocks.0.attention.qkv" in error
    assert "--for tensorrt avoids it" in error
    assert not list(tmp_path.iterdir())


def test_an_earlier_engine_survives_a_failure(engine):
    before = engine.read_bytes()
    arguments = ("--model", "fashion_mnist", "--workspace", "1", "--out", engine, "-q")
    expect_error("trt", *arguments, exit_code=1)
    assert engine.read_bytes() == before
    assert sorted(path.name for path in engine.parent.iterdir()) == ["f.engine", "f.engine.json"]


def test_no_variant_is_installed(tmp_path):
    script = (
        "import sys; names = ('tensorrt', 'tensorrt_rtx', 'torch_tensorrt')\n"
        "sys.modules |= dict.fromkeys(names)\n"
        "from vit_export.cli import main; sys.argv = sys.argv[1:]; main()"
    )
    arguments = ("vit-export", "trt", "--model", "fashion_mnist", "--out", tmp_path / "f.engine")
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Fix: pip install tensorrt-rtx" in done.stderr


def test_a_graph_that_is_not_the_model_is_rejected_for_locate(tmp_path, monkeypatch):
    """One weight of the graph is changed after its last pass."""
    build_graph = engine_module.build_graph

    def build_wrong_graph(job, progress):
        model, manifest = build_graph(job, progress)
        value = model.graph.initializers["blocks.1.mlp.expand.weight"]
        rolled = np.roll(value.const_value.numpy(), 7)
        value.const_value = ir.tensor(rolled, name=value.name)
        return model, manifest

    monkeypatch.setattr(engine_module, "build_graph", build_wrong_graph)
    command = ("trt", "--model", "fashion_mnist", "--out", tmp_path / "f.engine", "-q")
    error = expect_error(*command, exit_code=4)
    monkeypatch.undo()
    rejected = tmp_path / "f.engine.rejected.onnx"
    assert f"vit-export locate {rejected}" in error
    assert not (tmp_path / "f.engine").exists()
    location = json.loads(run("locate", rejected, "--json", "-q", exit_code=4).stdout)
    assert location["location"]["first"] == "blocks.1.mlp"
    engine = tmp_path / "f.engine.rejected"
    assert run_json("inspect", engine)["family"] == "trt, fp32, batch 1:8:16"
    assert "not checkable here" in expect_error("validate", engine, exit_code=3)
    report = json.loads((tmp_path / "f.engine.rejected.report.json").read_text())
    assert report["status"] == "REJECTED"
    vit_export.trt("fashion_mnist", tmp_path / "f.engine", engine="rtx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.engine", "f.engine.json"]


@pytest.mark.slow
def test_ctrl_c_stops_a_build(tmp_path):
    arguments = ("trt", "--model", "vit_base_patch16_224", *RTX, "--out", tmp_path / "b.engine")
    with subprocess.Popen(
        [COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not list(tmp_path.glob(".b.engine*/b.engine.onnx")):
            time.sleep(0.1)
        time.sleep(2.5)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert time.monotonic() - started < 5
    assert not list(tmp_path.iterdir())


def test_a_builder_in_the_garbage_does_not_stop_the_next_one(built):
    """Were garbage collected while TensorRT logs, it would wait for its own lock for ever."""
    script = (
        "import gc, sys, pathlib\n"
        "from vit_export.backends.tensorrt import builder, variant, variants\n"
        "plain = builder.make_logger\n"
        "def make_logger(library):\n"
        "    log = plain(library)\n"
        "    type(log).log = lambda *_: gc.isenabled() and gc.collect()\n"
        "    return log\n"
        "library = variant.load_library(variants.RTX)\n"
        "builder.make_logger = make_logger\n"
        "gc.disable()\n"
        "cycle = [library.Builder(plain(library))]\n"
        "cycle.append(cycle)\n"
        "del cycle\n"
        "gc.enable()\n"
        "graph = pathlib.Path(sys.argv[1])\n"
        "print(builder.parse_graph(library, graph, precision='fp32', flavour='tensorrt').layers)"
    )
    graph = graph_path(built["fp32"][0])
    done = subprocess.run(
        [sys.executable, "-c", script, str(graph)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert int(done.stdout) > 100


PRESETS = (
    *("vit_tiny_patch16_224", "vit_small_patch16_224"),
    *("vit_base_patch16_224", "vit_large_patch16_224"),
    *("einops_vit_tiny_patch16_224", "einops_vit_small_patch16_224"),
    "einops_vit_base_patch16_224",  # whose heads have 96 numbers
)


@pytest.mark.slow
@pytest.mark.sweep("presets", core=("[vit_tiny", "[einops_vit_base_patch16_224-fp16"))
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-static"])
@pytest.mark.parametrize("model", PRESETS)
def test_every_preset_is_built(tmp_path, model, precision):
    arguments = ("--calibration", CALIBRATION) if precision == "int8-static" else ()
    out = tmp_path / "f.engine"
    report = run_json(
        *("trt", "--model", model, "--precision", precision, *arguments, *RTX),
        *("--batch", "1:1:2", "--out", out, "-q"),
    )
    assert report["verdict"]["status"] == "BUILT, NOT RUN"
    products = read_sidecar(out).engine["precisions"]
    assert max(products, key=products.get) == ARITHMETIC[precision]


def test_weights_above_2_gb_are_parsed_by_path(tmp_path, monkeypatch):
    """A limit of 1 MB instead: the parser finds the file of weights beside the graph."""
    import vit_export.graph.save as saving

    monkeypatch.setattr(saving.save, "__kwdefaults__", {"largest_file_bytes": 2**20})
    result = vit_export.trt("fashion_mnist", tmp_path / "f.engine", engine="rtx", save_onnx=True)
    assert result.verdict.status == "BUILT, NOT RUN"
    (data,) = tmp_path.glob("f.engine.onnx.*.data")
    assert data.stat().st_size > 2**20
    assert run_json("validate", tmp_path / "f.engine.onnx", "-q")["status"] == "PROVEN"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """`tiny(seed, ...)`: build an engine whose graph has weights beside it; the file names."""
    import vit_export.graph.save as saving

    monkeypatch.setattr(saving.save, "__kwdefaults__", {"largest_file_bytes": 2**10})
    spec = tiny_spec(depth=1)

    def build(seed, **options):
        model = spec, random_vit(spec, seed).state_dict()
        vit_export.trt(model, tmp_path / "f.engine", engine="rtx", batch="1", **options)
        return {path.name for path in tmp_path.iterdir()}

    return build


def test_nothing_piles_up_beside_an_engine(tiny):
    first = tiny(0, save_onnx=True)
    second = tiny(1, save_onnx=True)
    assert len(first) == len(second) == 4
    assert len(first & second) == 3  # the name of the weights depends on them
    assert tiny(1) == {"f.engine", "f.engine.json"}


def test_a_file_of_the_user_stays(tiny, tmp_path, fashion):
    """Also an ONNX file that was exported for itself, not beside an engine."""
    for content in (b"mine", fashion.path["onnx"].read_bytes()):
        (tmp_path / "f.engine.onnx").write_bytes(content)
        assert tiny(0) == {"f.engine", "f.engine.json", "f.engine.onnx"}
        assert (tmp_path / "f.engine.onnx").read_bytes() == content


def run_without(*arguments, hidden):
    """Run a command in a process where the packages `hidden` are not installed."""
    script = (
        f"import sys; sys.modules |= dict.fromkeys({hidden!r})\n"
        "from vit_export.cli import main; sys.argv = sys.argv[1:]; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", script, "vit-export", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


HIDDEN = ("torch", "torchinfo", "onnx", "onnx_ir")


def test_a_device_needs_neither_torch_nor_onnx(engine):
    """Everything that is checked before a GPU is needed works without these packages."""
    done = run_without("validate", engine, hidden=(*HIDDEN, "onnxruntime"))
    assert done.returncode == 3, done.stderr
    assert "not checkable here: no GPU here" in done.stderr


def test_a_device_inspects_without_torch_and_onnx(engine, fashion):
    done = run_without("inspect", engine, "--json", hidden=(*HIDDEN, "onnxruntime"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parameters"] == 803_338
    done = run_without("inspect", fashion.path["onnx"], "--json", hidden=HIDDEN)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["parameters"], report["audit"]) == (803_338, None)
    assert "onnx_ir is not installed" in report["metadata"]["operators"]


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8-static"])
def test_a_network_of_another_precision_is_refused(built, precision):
    """TensorRT's own parser reads a graph in fp32; nothing is built from it."""
    graph = graph_path(built["fp32"][0])
    library = load_library(RTX_VARIANT)
    with pytest.raises(ProofError, match=f"not {precision}: of its matmuls .* in fp32") as error:
        parse_graph(library, graph, precision=precision, flavour="tensorrt")
    assert error.value.exit_code == 4
