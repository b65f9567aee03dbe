"""How an engine is built: what TensorRT's parser and builder get, and what is read of them."""

import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_tensorrt import Library, Network, Refusal, half_network, layer, tensor

from vit_export.artifact.batch import Batch
from vit_export.backends.tensorrt import backend, engine
from vit_export.backends.tensorrt.builder import parse_graph, save_timings, serialize
from vit_export.backends.tensorrt.builder_config import BuilderOptions
from vit_export.backends.tensorrt.cuda import Gpu
from vit_export.backends.tensorrt.network import check_arithmetic, count_matmuls
from vit_export.backends.tensorrt.options import DEFAULTS
from vit_export.backends.tensorrt.progress_monitor import Phases, make_monitor
from vit_export.backends.tensorrt.variants import TENSORRT, Choice
from vit_export.core.errors import BuildError, ProofError, RequestError
from vit_export.core.progress import ignore_share


def parse(library, folder, precision="fp16", flavour="tensorrt"):
    return parse_graph(library, folder / "f.onnx", precision=precision, flavour=flavour)


def build(library, folder, profiles=((1, 8, 16),), **options):
    """Return the engine that the fake library builds, and the calls that built it."""
    network = parse(library, folder)
    built = serialize(library, network, profiles, BuilderOptions(**options), ignore_share)
    if options.get("timing_cache"):
        assert save_timings(options["timing_cache"], built.timings) == ""
    return built.content, [call for call in library.calls if call[0] != "progress_monitor"]


def test_networks_are_strongly_typed_and_parsed_by_path(tmp_path):
    library = Library(half_network())
    network = parse(library, tmp_path)
    assert library.calls == [
        ("create_network", 1 << 1),  # 1 << STRONGLY_TYPED
        ("parse_from_file", str(tmp_path / "f.onnx")),
    ]
    assert (network.layers, network.matmuls) == (1, {"fp16": 1})


def test_without_the_flag_every_network_is_strongly_typed(tmp_path):
    library = Library(half_network())
    del library.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    parse(library, tmp_path)
    assert library.calls[0] == ("create_network", 0)


def test_fp16_that_is_fp32_is_refused_before_it_is_built(tmp_path):
    product = layer("MATRIX_MULTIPLY", [tensor("x"), tensor("w")], tensor("y"))
    library = Library(Network([product]))
    with pytest.raises(ProofError, match="is not fp16: of its matmuls 1 in fp32") as error:
        parse(library, tmp_path)
    assert error.value.exit_code == 4


def quantized_network(weight="INT8", activation="INT8"):
    """x -> Q -> DQ -> Unsqueeze and w -> DQ, multiplied; without an activation w -> DQ alone."""
    layers = [
        layer("DEQUANTIZE", [tensor("xq", activation)], tensor("xdq")),
        layer("UNSQUEEZE", [tensor("xdq")], tensor("x3")),
        layer("DEQUANTIZE", [tensor("wq", weight)], tensor("wdq")),
        layer("MATRIX_MULTIPLY", [tensor("x3"), tensor("wdq")], tensor("y")),
    ]
    return Network(layers if activation else [layers[2], layers[3]])


def test_products_are_counted_by_what_their_inputs_are_stored_in():
    assert count_matmuls(quantized_network()) == {"int8": 1}
    assert count_matmuls(quantized_network(activation="")) == {"fp32 x int8": 1}
    assert count_matmuls(quantized_network(activation="", weight="INT4")) == {"fp32 x int4": 1}


def test_most_products_have_to_be_in_the_precision():
    check_arithmetic({"fp32": 2, "int8": 4}, "int8-static")
    with pytest.raises(ProofError):
        check_arithmetic({"fp32": 3, "int8": 2}, "int8-static")
    with pytest.raises(ProofError, match="none"):
        check_arithmetic({}, "fp16")


def test_a_refused_node_is_named_with_its_module(tmp_path):
    refusal = [Refusal("blocks.3.attention/Attention", "Attention", "no kernel for 96\nmore")]
    with pytest.raises(BuildError) as error:
        parse(Library(refusal=refusal), tmp_path, flavour="onnxruntime")
    for fact in (
        "node blocks.3.attention/Attention (Attention)",
        "of the module blocks.3.attention: no kernel for 96.",
    ):
        assert fact in error.value.message
    assert "--for tensorrt avoids it" in error.value.fix


def test_the_builder_by_default(tmp_path):
    content, calls = build(Library(half_network()), tmp_path)
    assert content == b"\0trtan engine"
    shapes = [(size, 3, 16, 24) for size in (1, 8, 16)]
    assert calls[2:] == [
        ("clear_flag", "TF32"),
        ("profiling_verbosity", 1),
        ("add_optimization_profile", "image", *shapes),
    ]


def test_the_builder_with_every_option(tmp_path):
    cache = tmp_path / "cache"
    cache.write_bytes(b"former")
    _, calls = build(
        Library(half_network()),
        tmp_path,
        profiles=((1, 1, 1), (2, 4, 8)),
        workspace_mb=3,
        level=5,
        timing_cache=cache,
        hardware="ampere-plus",
        version_compatible=True,
        capabilities=("8.6", "8.9"),
        strip_weights=True,
    )
    assert [call for call in calls[4:] if call[0] != "add_optimization_profile"] == [
        ("set_memory_pool_limit", "WORKSPACE", 3 * 2**20),
        ("builder_optimization_level", 5),
        ("set_flag", "STRIP_PLAN"),
        ("set_flag", "REFIT_IDENTICAL"),
        ("set_flag", "VERSION_COMPATIBLE"),
        ("hardware_compatibility_level", 1),
        ("num_compute_capabilities", 2),
        ("set_compute_capability", "SM86", 0),
        ("set_compute_capability", "SM89", 1),
        ("create_timing_cache", b"former"),
        ("set_timing_cache", "cache", False),
    ]
    assert sum(call[0] == "add_optimization_profile" for call in calls) == 2
    assert cache.read_bytes() == b"timed"


def test_a_timing_cache_of_another_gpu_is_refused(tmp_path):
    (tmp_path / "cache").write_bytes(b"of another GPU")
    with pytest.raises(RequestError, match="no timing cache of this GPU"):
        build(Library(half_network()), tmp_path, timing_cache=tmp_path / "cache")
    assert (tmp_path / "cache").read_bytes() == b"of another GPU"


def test_an_engine_is_not_lost_when_its_timings_cannot_be_saved(tmp_path):
    assert "is not written: Is a directory" in save_timings(tmp_path, b"timed")


def test_weights_that_may_change_are_refittable_in_full(tmp_path):
    _, calls = build(Library(half_network()), tmp_path, refit=True, strip_weights=True)
    assert [call[1] for call in calls if call[0] == "set_flag"] == ["REFIT", "STRIP_PLAN"]


def test_an_option_that_the_version_lacks_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no hardware compatibility same-capability"):
        build(Library(half_network()), tmp_path, hardware="same-capability")
    with pytest.raises(RequestError, match=r"builds for no GPU of compute capability 12\.0"):
        build(Library(half_network()), tmp_path, capabilities=("12.0",))


def test_a_network_of_fixed_shapes_has_no_profile(tmp_path):
    network = half_network()
    network.image = tensor("image", shape=(4, 3, 16, 24))
    _, calls = build(Library(network), tmp_path)
    assert not [call for call in calls if call[0] == "add_optimization_profile"]


@pytest.mark.parametrize(
    ("reason", "message", "fix"),
    [
        ("Error Code 2: OutOfMemory (Requested 9 bytes.)", "ran out of memory", "--workspace"),
        ("no tactics within workspace limit.", "ran out of memory", "--batch"),
        ("Internal Error", "built no engine: Internal Error", "report"),
    ],
)
def test_a_builder_that_gives_up(tmp_path, reason, message, fix):
    with pytest.raises(BuildError, match=message) as error:
        build(Library(half_network(), error=reason), tmp_path)
    assert fix in error.value.fix


def test_the_monitor_ends_a_build():
    stop, shares = threading.Event(), []
    monitor = make_monitor(Library(), shares.append, stop)
    monitor.phase_start("Building engine", None, 4)
    assert monitor.step_complete("Building engine", 0)
    stop.set()
    assert not monitor.step_complete("Building engine", 1)
    assert shares == [0.25, 0.5]


def test_phases_inside_phases():
    phases = Phases()
    phases.start("build", None, 2)
    phases.start("optimize", "build", 10)
    phases.step("optimize", 5)
    assert phases.share == 0.25
    phases.finish("optimize")
    phases.step("build", 1)
    assert phases.share == 0.5
    phases.start("optimize", "build", 10)
    phases.step("optimize", 1)
    assert phases.share == pytest.approx(0.55)
    phases.step("build", 99)
    assert phases.share == 1


def test_a_known_bad_version_is_warned_of_before_the_build(monkeypatch):
    """The build ends here at its first stage, and the warning has come before that."""
    stages = []

    def progress(stage):
        stages.append(stage)
        if not stage.startswith("Warning: "):
            raise KeyboardInterrupt
        return nullcontext()

    library = Library()
    monkeypatch.setattr(library, "__version__", "10.4.0", raising=False)
    monkeypatch.setattr(backend, "find_gpu", lambda: Gpu("NVIDIA GeForce RTX 4090", "8.9"))
    choice = Choice(variant=TENSORRT, library=library)
    monkeypatch.setattr(backend, "choose", lambda *_, **_named: choice)
    monkeypatch.setattr(engine, "build_graph", lambda _, progress: progress("capture"))
    monkeypatch.setattr(
        backend, "replace", lambda one, **changes: SimpleNamespace(**vars(one) | changes)
    )
    manifest = SimpleNamespace(versions={}, batch=Batch.parse("1"))
    job = SimpleNamespace(options={**DEFAULTS, "engine": "tensorrt"}, manifest=manifest)
    with pytest.raises(KeyboardInterrupt):
        backend.build(job, Path("f"), progress)
    assert len(stages) == 2
    assert "TensorRT 10.4.0 is known to be wrong" in stages[0]
