"""--precision auto: the fastest mixture of precisions that keeps a budget."""

import json
import math
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from support import FASHION, refused, run, run_json, tiny_spec
from test_quantize import WIDE, images, plainly

import vit_export
from vit_export.artifact.budget import Budget, BudgetError, Point
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.bench.gemm import GEMMS_PER_FILE
from vit_export.bench.layer_timing import write_layers
from vit_export.core.errors import RequestError
from vit_export.data.dataset import Skipped
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit
from vit_export.quantization import calibration_cache as cache
from vit_export.quantization.fake_quant import played
from vit_export.quantization.mixed_precision import Request, first_within
from vit_export.quantization.pareto import Mixture, mixtures
from vit_export.quantization.plan import Plan
from vit_export.quantization.sensitivity import Exam, closer_views
from vit_export.validation.metrics import AccuracyReport, Proportion
from vit_export.validation.verdict import Verdict

CALIBRATION = FASHION / "images"
MS = {("a", "fast"): 1, ("a", "slow"): 2, ("a", "fp32"): 4, ("b", "fast"): 2, ("b", "fp32"): 3}
NOISE = {("a", "fast"): 9, ("a", "slow"): 1, ("a", "fp32"): 0, ("b", "fast"): 2, ("b", "fp32"): 0}


def times(shapes, schemes, *_):
    """As a runtime would measure them where int8 is worth its while."""
    share = {"fp32": 1.0, "int8": 0.3, "int8-token-zero-point": 0.4}
    return {
        (shape, scheme): math.prod(shape) * share.get(scheme, 0.28) / 1e6
        for shape in shapes
        for scheme in ("fp32", *schemes)
    }


@pytest.fixture
def steady(monkeypatch):
    """Times that do not depend on what else this machine does."""
    monkeypatch.setattr("vit_export.quantization.mixed_precision.time_layers", times)


def test_mixtures_go_from_the_fastest_to_fp32_and_take_the_best_bargain_first():
    found = [(dict(one.schemes), one.ms, one.noise) for one in mixtures(MS, NOISE)]
    assert found == [
        ({"a": "fast", "b": "fast"}, 3, 11),
        ({"a": "slow", "b": "fast"}, 4, 3),  # 8 for a millisecond
        ({"a": "slow", "b": "fp32"}, 5, 1),  # 2 for a millisecond
        ({"a": "fp32", "b": "fp32"}, 7, 0),
    ]


def test_what_is_slower_and_noisier_is_never_taken():
    ms = MS | {("a", "bad"): 3, ("b", "bad"): 9}
    noise = NOISE | {("a", "bad"): 5, ("b", "bad"): 1}
    assert [one.schemes for one in mixtures(ms, noise)] == [
        one.schemes for one in mixtures(MS, NOISE)
    ]


def test_a_played_module_is_as_it_was_afterwards():
    lowered = lower(random_vit(tiny_spec(**WIDE), 0))
    plan = plainly(lowered, {"blocks.1.mlp.expand": "int8"})
    made = np.stack([one for _, one in images(tiny_spec(**WIDE))])
    exam = Exam.of(lowered, made)
    before = dict(lowered.named_modules())
    with played(lowered, plan) as module:
        assert module.get_submodule("blocks.1.mlp.expand") is not before["blocks.1.mlp.expand"]
        with pytest.raises(RuntimeError):
            module(torch.zeros(1, 1, 1, 1))
    assert dict(lowered.named_modules()) == before
    assert exam.judge(plan)[0] < 80 < exam.judge(plainly(lowered, {}))[0]


def test_closer_views_are_opposite_quarters_enlarged():
    image = np.zeros((3, 8, 12), np.float32)
    image[:, :4, :6] = 1
    first, second = closer_views([image])
    assert first.shape == second.shape == image.shape
    assert first.min() == first.max() == 1
    assert not second.any()


@pytest.mark.parametrize("flavour", ["portable", "onnxruntime"])
@pytest.mark.parametrize(
    ("scheme", "op_type"),
    [
        ("fp32", "Gemm"),
        ("int8", "DynamicQuantizeLinear"),
        ("int8-token-zero-point", "QuantizeLinear"),
        ("int8-static", "QuantizeLinear"),
    ],
)
def test_a_layer_is_timed_with_all_that_its_scheme_costs(tmp_path, scheme, op_type, flavour):
    path = tmp_path / "f.onnx"
    write_layers(path, (7, 64, 96), scheme, flavour)
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    assert nodes.count(op_type) == GEMMS_PER_FILE
    found = onnxruntime.InferenceSession(path).run(None, {"x": np.ones((7, 64), np.float32)})
    assert [one.shape for one in found] == [(7, 96)] * GEMMS_PER_FILE


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("least", [30.0, 40.0, 50.0])
def test_a_budget_is_kept(tmp_path, least):
    out = tmp_path / "f.onnx"
    asked = {"precision": "auto", "calibration": CALIBRATION, "flavour": "onnxruntime"}
    built = vit_export.onnx("fashion_mnist", out, min_snr=least, **asked)
    assert min(one.snr_db for one in built.verdict.against_eager) >= least
    search = built.origin.search
    assert search.tried[-1].worst_snr_db >= least
    manifest = read_manifest(open_artifact(out), out)
    chosen = {one.layer: one.scheme for one in search.choices if one.scheme != "fp32"}
    assert manifest.layers == chosen
    assert len(chosen) == search.tried[-1].layers
    assert manifest.tolerance["least_snr_db"] == least
    order = [ms for ms, _ in search.foreseen]
    assert order == sorted(order)
    alone = [one.alone_snr_db for one in search.choices if one.alone_snr_db is not None]
    assert min(alone) > search.tried[-1].worst_snr_db  # each costs less than all together
    mixed = len({one.scheme for one in search.choices})
    assert mixed > 1 or least < 40


@pytest.mark.usefixtures("steady")
def test_a_stricter_budget_takes_more_time(tmp_path):
    asked = {"precision": "auto", "calibration": CALIBRATION}
    built = [
        vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", min_snr=least, **asked)
        for least in (30, 50)
    ]
    assert built[0].origin.search.tried[-1].ms < built[1].origin.search.tried[-1].ms


def test_the_command_line_prints_the_table_and_draws_the_picture(tmp_path):
    """Layers are timed for real here: of a model whose products are large enough for int8."""
    model, out, plot = (tmp_path / name for name in ("m.toml", "f.onnx", "p.png"))
    model.write_text(
        "[vit]\nimage_size = 112\npatch_size = 8\nwidth = 384\ndepth = 2\nheads = 6\nclasses = 5\n"
    )
    asked = ("--model", model, "--precision", "auto", "--min-snr", "25", "--plot", plot)
    told = run("onnx", *asked, "--out", out).stdout
    assert "blocks.1.mlp.contract" in told
    assert "25 dB is asked" in told
    with Image.open(plot) as picture:
        assert picture.width > 500
    document = run_json("validate", out, "-q")
    assert document["status"] == "PROVEN"
    assert min(one["snr_db"] for one in document["against_eager"]) >= 25


def test_a_budget_that_nothing_meets(tmp_path):
    out = tmp_path / "f.onnx"
    asked = ("--model", "fashion_mnist", "--precision", "auto", "--min-snr", "150", "--json")
    done = run("onnx", *asked, "--out", out, "-q", exit_code=4)
    document = json.loads(done.stdout)
    assert "No mixture of precisions keeps 150 dB" in document["error"]
    assert document["exit_code"] == 4
    nearest = document["nearest"]
    if nearest is not None:  # where int8 is slower than fp32 there is none
        worst = [one["worst_snr_db"] for one in document["tried"]]
        assert worst[0] < nearest["worst_snr_db"] == max(worst) < 150
        assert nearest["layers"] == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("hits", "worst", "told"),
    [(99, 36.0, ""), (98, 36.0, "98 of 100 images keep"), (99, 34.0, "x.png has 34.0 dB")],
)
def test_the_users_images_are_within_the_budget_too(hits, worst, told):
    judged = AccuracyReport(
        folder="d",
        count=100,
        accuracy_before=None,
        accuracy_after=None,
        agreement=Proportion(hits, 100),
        worst_snr_db=worst,
        worst_image="x.png",
        not_finite=0,
        unreadable=Skipped(),
        unlabelled=Skipped(),
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
    assert len(problems) == bool(told)
    assert told in "".join(problems)


def test_a_folder_is_looked_at_once(tmp_path, monkeypatch):
    cache, folder = tmp_path / "cache", tmp_path / "images"
    folder.mkdir()
    for path in sorted(CALIBRATION.glob("*.png"))[:12]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "bad.png").write_bytes(b"no image")
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(cache))
    looked = []
    from vit_export.quantization import observer as observe

    kept = observe.observe
    monkeypatch.setattr(
        observe, "observe", lambda *all_, **named: looked.append(1) or kept(*all_, **named)
    )

    def build():
        asked = {"precision": "int8-static", "calibration": folder}
        made = vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", **asked)
        assert "bad.png" in made.origin.calibration
        return (tmp_path / "f.onnx").read_bytes()

    first = build()
    assert build() == first
    assert len(looked) == 1
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:1000])  # cut short: it is no file then
    assert build() == first
    assert len(looked) == 2
    Image.new("L", (28, 28), 99).save(folder / "new.png")
    build()
    assert len(looked) == 3
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path / "file"))
    asked = {"precision": "int8-static", "calibration": CALIBRATION}
    made = vit_export.onnx("fashion_mnist", tmp_path / "f.onnx", **asked)
    assert made.verdict.status == "PROVEN"


@pytest.mark.usefixtures("steady")
def test_a_model_whose_answer_never_moves(tmp_path):
    """A head of zeros, from which fine-tuning starts: nothing costs anything."""
    vit = random_vit(tiny_spec(**WIDE), 0)
    with torch.no_grad():
        vit.head.classifier.weight.zero_()
    asked = {"precision": "auto", "plot": tmp_path / "p.png"}
    built = vit_export.onnx((vit.spec, vit.state_dict()), tmp_path / "f.onnx", **asked)
    assert built.verdict.status == "PROVEN"
    assert (tmp_path / "p.png").exists()


POINT = {"ms": 1.0, "layers": 3}


@pytest.mark.parametrize(
    ("worst", "agreement", "fix"),
    [
        (30.0, 1.0, "as --min-snr 28, or"),
        (50.0, 0.95, "as --min-top1 0.95, or"),
        (30.0, 0.95, "as --min-snr 28 --min-top1 0.95, or"),
        (30.0, None, "as --min-snr 28, or"),
    ],
)
def test_what_fell_short_is_what_is_to_be_lowered(worst, agreement, fix):
    nearest = Point(worst_snr_db=worst, agreement=agreement, **POINT)
    error = BudgetError(Budget(), nearest, (nearest,))
    assert fix in error.fix
    assert ("top classes" in error.message) == (agreement is not None)


def test_classes_that_changed_once_do_not_refuse_what_keeps_the_budget():
    """The first keeps 49 dB and too few classes; the second keeps all, and is taken."""
    line = [Mixture(schemes={"a": "int8"}, ms=ms, noise=noise) for ms, noise in ((1, 2), (2, 1))]
    answers = iter([(49.2, 0.95), (49.9, 1.0)])

    class Exam:
        def judge(self, _):
            return next(answers)

    class Bill:
        def line(self):
            return line

        def plan(self, _):
            return Plan(layers={"a": None})

    request = Request(
        asked=QuantizationRequest("auto"),
        flavour="portable",
        batch=None,
        classifies=True,
        threads=None,
    )
    taken, tried, _ = first_within(Exam(), Bill(), request)
    assert taken is line[1]
    assert [one.agreement for one in tried] == [0.95, 1.0]


def test_a_share_of_classes_of_a_model_without_any(tmp_path):
    vit = random_vit(tiny_spec(classes=None), 0)
    with pytest.raises(RequestError, match="the model has no classes"):
        vit_export.onnx(
            (vit.spec, vit.state_dict()), tmp_path / "f.onnx", precision="auto", min_top1=0.9
        )


def test_a_picture_in_the_place_of_the_file(tmp_path):
    asked = ("--precision", "auto", "--plot", tmp_path / "p.png", "--out", tmp_path / "p.png")
    assert "picture too" in refused("onnx", "--model", "fashion_mnist", *asked, exit_code=2)


def test_nobody_has_a_home(tmp_path, monkeypatch):
    """Then nothing is kept between runs, and a folder that is told is taken all the same."""
    monkeypatch.delenv("VIT_EXPORT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", none)
    cache.store("key", {}, {})
    assert cache.load("key") is None
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path))
    cache.store("key", {}, {})
    assert cache.load("key") == ({}, {})


def test_what_a_killed_process_left_goes_after_an_hour(tmp_path, monkeypatch):
    monkeypatch.setenv("VIT_EXPORT_CACHE", str(tmp_path))
    old, new = (tmp_path / f"{word}.unfinished" for word in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.store("key", {}, {})
    assert (old.exists(), new.exists()) == (False, True)
