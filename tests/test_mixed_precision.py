"""--precision auto: the fastest assignment of schemes to layers that keeps a budget."""

import json
import math
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from quantized_models import WIDE, make_batch, plan_without_calibration
from support import FASHION, LazyDict, expect_error, run, run_json, tiny_spec

import vit_export
from vit_export.artifact.budget import Budget, BudgetError, Point
from vit_export.artifact.output_signals import OutputSignals
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.bench import layer_timing
from vit_export.bench.gemm import GEMMS_PER_FILE
from vit_export.core.errors import RequestError
from vit_export.core.progress import silent
from vit_export.data.image_folder import SkippedImages
from vit_export.model.signature import image_signature
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization import calibration_cache, observer
from vit_export.quantization.fake_quant import fake_quantize
from vit_export.quantization.mixed_precision import find_first_within_budget
from vit_export.quantization.pareto import Assignment, walk_frontier
from vit_export.quantization.plan import QuantizationPlan
from vit_export.quantization.repeat import repeat_plan
from vit_export.quantization.search_settings import SearchSettings
from vit_export.quantization.sensitivity import AccuracyTest, enlarge_quarters
from vit_export.validation.metrics import AccuracyReport, Proportion
from vit_export.validation.verdict import Verdict

CALIBRATION = FASHION / "images"
SIGNALS = OutputSignals(signature=image_signature((1, 2, 2), "logits", (5,)), signals=(1.0,))
MS = {("a", "fast"): 1, ("a", "slow"): 2, ("a", "fp32"): 4, ("b", "fast"): 2, ("b", "fp32"): 3}
NOISE = {("a", "fast"): 9, ("a", "slow"): 1, ("a", "fp32"): 0, ("b", "fast"): 2, ("b", "fp32"): 0}


def time_layers(gemms, schemes, *_):
    """What a runtime might measure where int8 is faster than fp32."""
    share = {"fp32": 1.0, "int8": 0.3, "int8-token-zero-point": 0.4}
    return {
        (gemm, scheme): math.prod(gemm) * share.get(scheme, 0.28) / 1e6
        for gemm in gemms
        for scheme in ("fp32", *schemes)
    }


@pytest.fixture
def fixed_times(monkeypatch):
    """Times that do not depend on what else the machine does."""
    monkeypatch.setattr(layer_timing, "time_layers", time_layers)


def test_the_frontier_goes_from_the_fastest_to_fp32_by_the_best_step():
    assignments = [(dict(one.schemes), one.ms, one.noise) for one in walk_frontier(MS, NOISE)]
    assert assignments == [
        ({"a": "fast", "b": "fast"}, 3, 11),
        ({"a": "slow", "b": "fast"}, 4, 3),  # removes 8 in a millisecond
        ({"a": "slow", "b": "fp32"}, 5, 1),  # removes 2 in a millisecond
        ({"a": "fp32", "b": "fp32"}, 7, 0),
    ]


def test_a_slower_and_noisier_scheme_is_never_used():
    ms = MS | {("a", "bad"): 3, ("b", "bad"): 9}
    noise = NOISE | {("a", "bad"): 5, ("b", "bad"): 1}
    assert [one.schemes for one in walk_frontier(ms, noise)] == [
        one.schemes for one in walk_frontier(MS, NOISE)
    ]


def test_fake_quantization_restores_the_module_even_after_an_error():
    spec, name = tiny_spec(**WIDE), "blocks.1.mlp.expand"
    lowered = lower(random_vit(spec, 0))
    plan = plan_without_calibration(lowered, {name: "int8"})
    accuracy_test = AccuracyTest.prepare(lowered, make_batch(spec), signals=SIGNALS)
    before = dict(lowered.named_modules())
    with fake_quantize(lowered, plan) as module:
        assert module.get_submodule(name) is not before[name]
        with pytest.raises(RuntimeError):
            module(torch.zeros(1, 1, 1, 1))
    assert dict(lowered.named_modules()) == before
    exact = plan_without_calibration(lowered, {})
    assert accuracy_test.measure_accuracy(plan)[0] < 80 < accuracy_test.measure_accuracy(exact)[0]


def test_opposite_quarters_are_enlarged():
    image = np.zeros((3, 8, 12), np.float32)
    image[:, :4, :6] = 1
    first, second = enlarge_quarters([image])
    assert first.shape == second.shape == image.shape
    assert first.min() == first.max() == 1
    assert not second.any()


@pytest.mark.parametrize("flavour", ["portable", "onnxruntime"])
@pytest.mark.parametrize(
    ("scheme", "operator"),
    [
        ("fp32", "Gemm"),
        ("int8", "DynamicQuantizeLinear"),
        ("int8-token-zero-point", "QuantizeLinear"),
        ("int8-static", "QuantizeLinear"),
    ],
)
def test_a_layer_is_timed_with_all_nodes_of_its_scheme(tmp_path, scheme, operator, flavour):
    path = tmp_path / "f.onnx"
    layer_timing.write_layers(path, (7, 64, 96), scheme, flavour)
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    assert nodes.count(operator) == GEMMS_PER_FILE
    answers = onnxruntime.InferenceSession(path).run(None, {"x": np.ones((7, 64), np.float32)})
    assert [answer.shape for answer in answers] == [(7, 96)] * GEMMS_PER_FILE


@pytest.fixture(scope="module")
def within_budget(tmp_path_factory):
    """`within_budget[min_snr]`: the trained model, exported within a budget."""
    folder = tmp_path_factory.mktemp("budgets")

    def export(min_snr):
        options = {"precision": "auto", "calibration": CALIBRATION, "flavour": "onnxruntime"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layer_timing, "time_layers", time_layers)
            out = folder / f"{min_snr}.onnx"
            return vit_export.onnx("fashion_mnist", out, min_snr=min_snr, **options)

    return LazyDict(export)


@pytest.mark.parametrize("min_snr", [30.0, 36.0, 43.0])
def test_the_file_keeps_the_budget(within_budget, min_snr):
    built = within_budget[min_snr]
    assert min(one.snr_db for one in built.verdict.against_eager) >= min_snr
    search = built.origin.search
    assert search.tried[-1].worst_snr_db >= min_snr
    manifest = read_manifest(open_artifact(built.path), built.path)
    quantized = {one.layer: one.scheme for one in search.choices if one.scheme != "fp32"}
    assert manifest.layers == quantized
    assert len(quantized) == search.tried[-1].layers
    assert manifest.tolerance.least_snr_db == min_snr
    times = [ms for ms, _ in search.foreseen]
    assert times == sorted(times)
    alone = [one.alone_snr_db for one in search.choices if one.alone_snr_db is not None]
    assert min(alone) > search.tried[-1].worst_snr_db  # each costs less than all together
    schemes = {one.scheme for one in search.choices}
    assert len(schemes) > 1 or min_snr < 36


def test_a_stricter_budget_takes_more_time(within_budget):
    loose, strict = within_budget[30.0], within_budget[43.0]
    assert loose.origin.search.tried[-1].ms < strict.origin.search.tried[-1].ms


@pytest.mark.usefixtures("fixed_times")
def test_the_command_prints_a_row_per_layer_and_writes_the_plot(tmp_path):
    out, plot = (tmp_path / name for name in ("f.onnx", "p.png"))
    options = ("--precision", "auto", "--min-snr", "25", "--plot", plot)
    stdout = run("onnx", "--model", "fashion_mnist", *options, "--out", out).stdout
    assert "blocks.1.mlp.contract" in stdout
    assert "25 dB" in stdout
    with Image.open(plot) as picture:
        assert picture.width > 500


@pytest.mark.slow
def test_layers_are_timed_here(tmp_path):
    """In a model large enough for int8 to be faster than fp32."""
    model, out = tmp_path / "m.toml", tmp_path / "f.onnx"
    model.write_text(
        "[vit]\nimage_size = 112\npatch_size = 8\nwidth = 384\ndepth = 2\nheads = 6\nclasses = 5\n"
    )
    options = ("--model", model, "--precision", "auto", "--min-snr", "25")
    assert run_json("onnx", *options, "--out", out, "-q")["search"]["choices"]
    document = run_json("validate", out, "-q")
    assert document["status"] == "PROVEN"
    assert min(one["snr_db"] for one in document["against_eager"]) >= 25


def test_a_layer_is_timed_in_each_scheme(monkeypatch):
    monkeypatch.setattr(layer_timing, "BURST_MS", 5)
    gemm = (8, 32, 64)
    layer_ms = layer_timing.time_layers([gemm], ["int8"], "portable", threads=1)
    assert layer_ms.keys() == {(gemm, "fp32"), (gemm, "int8")}
    assert all(0 < ms < 1000 for ms in layer_ms.values())


@pytest.mark.usefixtures("fixed_times")
def test_a_budget_that_nothing_meets_is_exit_code_4(tmp_path):
    out = tmp_path / "f.onnx"
    options = ("--model", "fashion_mnist", "--precision", "auto", "--min-snr", "150", "--json")
    done = run("onnx", *options, "--out", out, "-q", exit_code=4)
    document = json.loads(done.stdout)
    assert "150 dB" in document["error"]
    assert document["exit_code"] == 4
    nearest = document["nearest"]
    worst = [one["worst_snr_db"] for one in document["tried"]]
    assert worst[0] < nearest["worst_snr_db"] == max(worst) < 150
    assert nearest["layers"] == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("hits", "worst_db", "message"),
    [(99, 36.0, ""), (98, 36.0, "98 of 100 images keep"), (99, 24.0, "x.png has 24.0 dB")],
)
def test_the_budget_holds_for_the_users_images_too(hits, worst_db, message):
    judged = AccuracyReport(
        folder="d",
        count=100,
        accuracy_before=None,
        accuracy_after=None,
        agreement=Proportion(hits, 100),
        worst_snr_db=worst_db,
        worst_image="x.png",
        not_finite=0,
        unreadable=SkippedImages(),
        unlabelled=SkippedImages(),
        not_images=SkippedImages(),
    )
    verdict = Verdict(
        artifact="f",
        runtime="r",
        precision="auto",
        batches=(1,),
        against_eager=(),
        against_alone=(),
        images=judged,
    )
    problems = verdict.apply_budget(Budget()).problems
    assert len(problems) == bool(message)
    assert message in "".join(problems)


@pytest.fixture
def wide_toml(tmp_path):
    """The model of `WIDE` as a preset, with preprocessing."""
    path = tmp_path / "wide.toml"
    path.write_text(
        "[vit]\nimage_size = 32\npatch_size = 8\nwidth = 64\nheads = 4\ndepth = 3\nclasses = 5\n"
        "[preprocessing]\nresize = 32\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    )
    return path


@pytest.mark.slow  # several searches
def test_statistics_of_a_folder_are_collected_once(tmp_path, wide_toml, monkeypatch):
    cache, folder = tmp_path / "cache", tmp_path / "images"
    folder.mkdir()
    for path in sorted(CALIBRATION.glob("*.png"))[:12]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "bad.png").write_bytes(b"no image")
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(cache))
    calls = []
    original = observer.collect_stats

    def collect_stats(*arguments, **options):
        calls.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(observer, "collect_stats", collect_stats)

    def build():
        options = {"precision": "int8-static", "calibration": folder}
        built = vit_export.onnx(wide_toml, tmp_path / "f.onnx", **options)
        assert "bad.png" in built.origin.calibration
        return (tmp_path / "f.onnx").read_bytes()

    first = build()
    assert build() == first
    assert len(calls) == 1
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:1000])  # a truncated file counts as missing
    assert build() == first
    assert len(calls) == 2
    Image.new("L", (28, 28), 99).save(folder / "new.png")
    build()
    assert len(calls) == 3
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path, wide_toml, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path / "file"))
    options = {"precision": "int8-static", "calibration": CALIBRATION}
    built = vit_export.onnx(wide_toml, tmp_path / "f.onnx", **options)
    assert built.verdict.status == "PROVEN"


@pytest.mark.usefixtures("fixed_times")
def test_a_model_whose_answer_is_constant(tmp_path):
    """A head of zeros, from which fine-tuning starts: no quantized layer costs anything."""
    vit = random_vit(tiny_spec(**WIDE), 0)
    with torch.no_grad():
        vit.head.classifier.weight.zero_()
    options = {"precision": "auto", "plot": tmp_path / "p.png"}
    built = vit_export.onnx((vit.spec, vit.state_dict()), tmp_path / "f.onnx", **options)
    assert built.verdict.status == "PROVEN"
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("worst_db", "agreement", "fix"),
    [
        (24.0, 1.0, ": --min-snr 22; or"),
        (50.0, 0.95, ": --min-top1 0.95; or"),
        (24.0, 0.95, ": --min-snr 22 --min-top1 0.95; or"),
        (24.0, None, ": --min-snr 22; or"),
        (16.9, 1.0, "keep fp32."),  # less than 15 dB is never proven
    ],
)
def test_the_fix_lowers_the_options_that_were_missed(worst_db, agreement, fix):
    nearest = Point(worst_snr_db=worst_db, agreement=agreement, ms=1.0, layers=3)
    error = BudgetError(Budget(), nearest, (nearest,))
    assert fix in error.fix
    assert ("top classes" in error.message) == (agreement is not None)


def test_a_miss_of_top_classes_does_not_end_the_search():
    """The first assignment keeps 49 dB and too few classes; the second keeps all classes."""
    frontier = [
        Assignment(schemes={"a": "int8"}, ms=ms, noise=noise) for ms, noise in ((1, 2), (2, 1))
    ]
    accuracies = iter([(49.2, 0.95), (49.9, 1.0)])

    class FakeTest:
        def measure_accuracy(self, _):
            return next(accuracies)

    plans = {"int8": QuantizationPlan(layers={"a": None})}
    settings = SearchSettings(
        request=QuantizationRequest("auto"),
        flavour="portable",
        batch=None,
        classifies=True,
        signals=SIGNALS,
        threads=None,
    )
    best, points, _ = find_first_within_budget(FakeTest(), frontier, plans, settings)
    assert best is frontier[1]
    assert [point.agreement for point in points] == [0.95, 1.0]


def test_min_top1_for_a_model_without_classes_is_an_error(tmp_path):
    vit = random_vit(tiny_spec(classes=None), 0)
    with pytest.raises(RequestError, match="the model has no classes"):
        vit_export.onnx(
            (vit.spec, vit.state_dict()), tmp_path / "f.onnx", precision="auto", min_top1=0.9
        )


@pytest.mark.parametrize("problem_type", ["multi_label", "regression"])
def test_min_top1_for_a_model_without_a_top_class_is_an_error(tmp_path, problem_type):
    options = {"precision": "auto", "min_top1": 0.9, "problem_type": problem_type}
    with pytest.raises(RequestError, match="--min-top1 means nothing: the model answers"):
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", **options)


def test_a_plot_in_place_of_the_file_is_an_error(tmp_path):
    options = ("--precision", "auto", "--plot", tmp_path / "p.png", "--out", tmp_path / "p.png")
    assert "--plot" in expect_error("onnx", "--model", "fashion_mnist", *options, exit_code=2)


def test_a_user_without_a_home_has_a_cache_only_by_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("VIT_EXPORT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def raise_error():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", raise_error)
    calibration_cache.store("key", {}, {})
    assert calibration_cache.load("key") is None
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path))
    calibration_cache.store("key", {}, {})
    assert calibration_cache.load("key") == ({}, {})


def test_temporary_files_of_killed_processes_are_deleted_after_an_hour(tmp_path, monkeypatch):
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path))
    own = ["0" * 64 + "." + digit * 32 for digit in "12"]
    old, new, foreign = (tmp_path / f"{name}.unfinished" for name in (*own, "mine"))
    for path in (old, new, foreign):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    os.utime(foreign, (0, 0))
    calibration_cache.store("key", {}, {})
    assert [path.exists() for path in (old, new, foreign)] == [False, True, True]


def test_only_files_of_the_cache_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path))
    monkeypatch.setattr(calibration_cache, "MAX_BYTES", 1000)
    mine, old = tmp_path / "my_model.safetensors", tmp_path / f"{'0' * 64}.safetensors"
    for path in (mine, old):
        path.write_bytes(bytes(2000))
        os.utime(path, (0, 0))
    key = "1" * 64
    calibration_cache.store(key, {}, {})
    assert sorted(tmp_path.iterdir()) == [tmp_path / f"{key}.safetensors", mine]


def change_number(path):
    """One number of a range is another; the file is whole."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)


def change_text(path):
    path.write_bytes(path.read_bytes().replace(b"rows_per_image", b"rows_per_imaga"))


@pytest.mark.parametrize("change", [change_number, change_text])
def test_a_changed_entry_of_the_cache_counts_as_missing(tmp_path, monkeypatch, change):
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path))
    names = ("total", "low", "high", "rows")
    stats = observer.ActivationStats(
        images=1, rows_per_image=2, count=2, **{name: torch.ones(2, 2) for name in names}
    )
    calibration_cache.store("key", {"layer": stats}, {})
    assert calibration_cache.load("key") is not None
    change(tmp_path / "key.safetensors")
    assert calibration_cache.load("key") is None


# A plan that is repeated


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The trained model in precision auto, exported in a process of its own with two threads."""
    path = tmp_path_factory.mktemp("plan") / "a.onnx"
    options = ("--model", "fashion_mnist", "--precision", "auto", "--out", path, "-q")
    run("onnx", *options, process=True, env={"OMP_NUM_THREADS": "2"})
    return path


@pytest.mark.slow
def test_a_plan_gives_the_same_bytes_on_one_thread(searched, tmp_path):
    out = tmp_path / "b.onnx"
    options = ("--model", "fashion_mnist", "--precision", "auto", "--plan", searched, "--out", out)
    run("onnx", *options, "-q", process=True, env={"OMP_NUM_THREADS": "1"})
    assert out.read_bytes() == searched.read_bytes()


@pytest.mark.slow
def test_a_plan_of_another_architecture_is_refused(searched, tiny_export, tmp_path):
    options = ("--precision", "auto", "--plan", searched)
    done = tiny_export("onnx", tmp_path / "b.onnx", *options, exit_code=2)
    assert (
        "is a model of 4 blocks of width 128, and this one has 1 blocks of width 24" in done.stderr
    )


def test_a_file_without_a_search_has_no_plan(fashion, tmp_path):
    fashion_file = next(iter(fashion.path.values()))
    with pytest.raises(RequestError, match="which has no plan to repeat"):
        vit_export.onnx("fashion_mnist", tmp_path / "b.onnx", precision="auto", plan=fashion_file)
    assert not list(tmp_path.iterdir())


def test_a_plot_needs_a_search(tmp_path):
    options = {"precision": "auto", "plan": tmp_path / "a.onnx", "plot": tmp_path / "p.png"}
    with pytest.raises(RequestError, match="--plot shows a search"):
        vit_export.onnx("fashion_mnist", tmp_path / "b.onnx", **options)


@pytest.mark.parametrize(
    ("schemes", "message"),
    [
        ({"blocks.9.mlp.expand": "int8"}, "no layer 'blocks.9.mlp.expand'"),
        ({"blocks.0.mlp.expand": "int3"}, "no scheme 'int3'"),
    ],
)
def test_a_plan_names_layers_and_schemes(schemes, message):
    lowered = lower(random_vit(tiny_spec(), 0))
    with pytest.raises(RequestError, match=message):
        repeat_plan(lowered, QuantizationRequest("auto"), {}, schemes, silent)
