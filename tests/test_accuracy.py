"""Accuracy on the user's images: before and after, agreement, SNR, intervals; from the outside."""

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from fashion_images import count_right, write_images
from PIL import Image
from support import FASHION, expect_error, mark_slow_except, run, run_json, tiny_spec

import vit_export
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.load import load
from vit_export.core.errors import RequestError
from vit_export.core.progress import silent
from vit_export.data.annotations import read_annotations
from vit_export.data.dataset import open_dataset
from vit_export.data.image_folder import SkippedImages
from vit_export.data.preprocessing import preprocess
from vit_export.model.vit.presets import load_preset
from vit_export.model.vit.state import random_vit
from vit_export.validation import accuracy
from vit_export.validation.accuracy import AccuracyEvaluation
from vit_export.validation.metrics import AccuracyReport, Proportion
from vit_export.validation.verdict import Verdict

WEIGHTS = FASHION / "fashion_mnist.safetensors"
COUNT, FEW = 200, 60


def evaluate(artifact, **options) -> AccuracyReport | None:
    return vit_export.validate(artifact, **options).images


# Accuracy and agreement


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_accuracy_before_and_after(tmp_path, fashion, fashion_subset, target):
    images, labels = (part[:COUNT] for part in fashion_subset)
    folder = write_images(tmp_path / "images", images, labels)
    out = tmp_path / fashion.path[target].name
    result = getattr(vit_export, target)("fashion_mnist", out, images=folder)
    report = result.images
    with torch.inference_mode():
        preprocessing = load_preset("fashion_mnist").preprocessing
        inputs = np.stack([preprocess(Image.fromarray(image), preprocessing) for image in images])
        eager = load("fashion_mnist").vit(torch.from_numpy(inputs)).numpy()
    right = int((eager.argmax(1) == labels).sum())
    assert 170 < right < 195  # neither all nor none: a constant would not do
    assert report.accuracy_before == Proportion(right, COUNT)
    assert report.accuracy_after == Proportion(count_right(out, images, labels), COUNT)
    assert report.accuracy_after.value == pytest.approx(right / COUNT)
    assert report.agreement == Proportion(COUNT, COUNT)
    assert report.difference_points == 0
    assert report.worst_snr_db > 100
    assert (folder / report.worst_image).is_file()
    samples = {one.sample for one in result.verdict.against_eager}
    assert sum(name.startswith("image:") for name in samples) == 8
    assert out.read_bytes() == fashion.path[target].read_bytes()


def test_the_command_reports_what_its_twin_returns(tmp_path, by_folder, few):
    export = ("onnx", "--model", "fashion_mnist", "--images", by_folder)
    printed = run_json(*export, "--out", tmp_path / "f.onnx", "-q")
    assert printed["images"]["accuracy_before"] == printed["images"]["accuracy_after"]
    assert printed["images"]["accuracy_after"]["hits"] == count_right(tmp_path / "f.onnx", *few)
    assert printed["images"]["count"] == printed["images"]["agreement"]["of"] == FEW
    assert "images" not in printed["verdict"]


def test_wrong_labels_are_counted_wrong(tmp_path, fashion_file, few):
    images, labels = few
    right = evaluate(fashion_file, images=write_images(tmp_path / "right", images, labels))
    others = (labels + 1) % 10
    wrong = evaluate(fashion_file, images=write_images(tmp_path / "wrong", images, others))
    assert right.accuracy_after.hits == count_right(fashion_file, images, labels) > FEW / 2
    assert wrong.accuracy_after.hits == count_right(fashion_file, images, others) < FEW / 4


def test_another_model_disagrees(tmp_path, fashion, few, by_folder):
    """Weights whose classes are turned by one: before and after differ in every number."""
    from safetensors.torch import load_file, save_file

    state = load_file(WEIGHTS)
    for name in ("head.classifier.weight", "head.classifier.bias"):
        state[name] = state[name].roll(1, 0)
    save_file(state, tmp_path / "turned.safetensors")
    path, (images, labels) = fashion.path["onnx"], few
    report = evaluate_against(tmp_path / "turned.safetensors", path, by_folder)
    after, before = count_right(path, images, labels), count_right(path, images, (labels - 1) % 10)
    assert report.agreement.hits == 0
    assert (report.accuracy_after.hits, report.accuracy_before.hits) == (after, before)
    assert report.difference_points == pytest.approx(100 * (after - before) / FEW)
    assert report.worst_snr_db < 20


def evaluate_against(weights, artifact, folder, session=None, verdict=None):
    """The report on `artifact` (or on a `session` in its place) beside eager PyTorch."""
    opened = open_artifact(artifact)
    manifest = read_manifest(opened, artifact)
    images = open_dataset(
        read_annotations(folder, None),
        manifest.preprocessing,
        answer=manifest.signature.answer,
        classes=manifest.signature.classes,
        names=manifest.labels,
        progress=silent,
    )
    with AccuracyEvaluation(images, tokens=None) as evaluation:
        evaluation.run_eager(load("fashion_mnist", weights=weights).module, silent)
        verdict = verdict or vit_export.validate(artifact)
        return evaluation.run_artifact(verdict, session or opened, manifest, silent).images


class OneNan:
    """An artifact that answers one NaN in each batch."""

    runtime = "a fake"

    def __init__(self, artifact):
        self.session = open_artifact(artifact)

    def run(self, images):
        answers = self.session.run(images).copy()
        answers[0, 3] = np.nan
        return answers


def test_an_answer_that_is_not_finite_is_neither_right_nor_in_agreement(fashion, by_folder):
    session = OneNan(fashion.path["onnx"])
    report = evaluate_against(WEIGHTS, fashion.path["onnx"], by_folder, session=session)
    assert report.not_finite == -(-FEW // 16)
    assert report.agreement.hits == FEW - report.not_finite
    assert report.worst_snr_db == -np.inf
    assert report.accuracy_after.hits < report.accuracy_before.hits


def test_a_rejected_artifact_gets_no_report(fashion, by_folder):
    rejected = Verdict.reject(Path("f.onnx"), "fp32", "broken")
    path = fashion.path["onnx"]
    assert evaluate_against(WEIGHTS, path, by_folder, verdict=rejected) is None


def test_without_labels_the_top_class_is_compared(fashion, flat):
    report = evaluate(fashion.path["onnx"], images=flat, weights=WEIGHTS)
    assert report.agreement == Proportion(FEW, FEW)
    assert (report.accuracy_before, report.accuracy_after, report.difference_points) == (None,) * 3


def test_without_labels_and_weights_the_images_are_refused(fashion, flat):
    message = expect_error("validate", fashion.path["onnx"], "--images", flat, exit_code=2)
    assert "have no labels" in message
    assert "--weights" in message


def test_without_weights_the_artifact_is_evaluated_alone(fashion, by_folder, few):
    report = evaluate(fashion.path["onnx"], images=by_folder)
    assert report.accuracy_after.hits == count_right(fashion.path["onnx"], *few)
    assert (report.accuracy_before, report.agreement, report.worst_snr_db) == (None, None, None)


def test_the_command_validates_on_images_like_its_twin(fashion, by_folder):
    options = ("--images", by_folder, "--weights", WEIGHTS, "-q")
    printed = run_json("validate", fashion.path["onnx"], *options)
    report = evaluate(fashion.path["onnx"], images=by_folder, weights=WEIGHTS)
    assert printed["images"] == json.loads(json.dumps(report.to_mapping()))
    assert report.agreement == Proportion(FEW, FEW)
    assert evaluate(fashion.path["onnx"]) is None


def test_an_onnx_file_needs_numpy_pillow_and_its_runtime_alone(fashion, by_folder):
    """The Python functions do not even try to import anything else, images or not."""
    script = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'einops', 'rich', 'click', 'matplotlib', 'jinja2'):\n"
        "    sys.modules[name] = None\n"  # importing it fails
        "import vit_export\n"
        "artifact, folder, image = sys.argv[1:]\n"
        "print(len(vit_export.predict(artifact, [image])))\n"
        "print(vit_export.validate(artifact, images=folder).images.count)"
    )
    image = by_folder / "bag" / min(path.name for path in (by_folder / "bag").iterdir())
    command = ("-c", script, fashion.path["onnx"], by_folder, image)
    assert run(*command, command=sys.executable).stdout.split() == ["1", str(FEW)]


# Batches, answers and memory


@pytest.fixture
def tiny(tmp_path, tiny_toml):
    """Builds the tiny model and evaluates it on 21 images."""
    rng = np.random.RandomState(0)
    folder = tmp_path / "noise"
    folder.mkdir()
    for i in range(21):
        Image.fromarray(rng.randint(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{i:02}.png")

    def build(target="onnx", **options):
        return getattr(vit_export, target)(tiny_toml, tmp_path / "t", images=folder, **options)

    return build


@pytest.mark.parametrize(
    "batch", mark_slow_except(["1", "4", "64", "2:4:5", "18:20:32"], "4", "2:4:5", "18:20:32")
)
def test_every_image_is_evaluated_at_any_batch(tiny, batch):
    report = tiny(batch=batch).images
    assert report.agreement == Proportion(21, 21)
    assert report.worst_snr_db > 100


@pytest.mark.parametrize("outputs", ["features", "tokens"])
def test_a_model_without_classes_is_compared_by_its_answers(tiny, outputs):
    report = tiny(outputs=outputs).images
    assert (report.accuracy_before, report.accuracy_after, report.agreement) == (None,) * 3
    assert report.worst_snr_db > 100
    assert report.count == 21


def test_a_model_without_classes_has_none_for_labels(tmp_path, tiny):
    labels = tmp_path / "labels.csv"
    labels.write_text("00.png,1\n")
    with pytest.raises(RequestError, match="answers features, not one class as in"):
        tiny(outputs="features", labels_csv=labels)


def test_sub_folders_mean_nothing_to_a_model_without_classes(tmp_path, tiny_toml, by_folder):
    report = vit_export.onnx(tiny_toml, tmp_path / "t", images=by_folder, outputs="features").images
    assert report.count == FEW


def test_an_elongated_image_is_left_out(tmp_path, tiny):
    Image.new("RGB", (2000, 1)).save(tmp_path / "noise" / "thin.png")
    report = tiny().images
    assert (report.count, report.unreadable) == (21, SkippedImages(1, ("thin.png",)))


@pytest.mark.parametrize("spool", [1, 10**9])
def test_answers_are_the_same_on_disk_and_in_memory(tiny, monkeypatch, spool):
    monkeypatch.setattr(accuracy, "SPOOL_BYTES", spool)
    assert tiny().images.agreement == Proportion(21, 21)


def peak_bytes(folder, preprocessing, spec, count):
    """The largest memory of Python and NumPy while `count` images are read and answered."""
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", spec.image_size).save(folder / f"{i:03}.png")
    tracemalloc.reset_peak()
    images = open_dataset(
        read_annotations(folder, None),
        preprocessing,
        answer=spec.answer,
        classes=spec.classes,
        names=(),
        progress=silent,
    )
    with AccuracyEvaluation(images, spec.tokens) as evaluation:
        evaluation.run_eager(random_vit(spec, 0), silent)
        answers = evaluation._read_eager()  # noqa: SLF001 nothing else shows it
        assert sum(1 for _ in answers) == count
    return tracemalloc.get_traced_memory()[1]


def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "SPOOL_BYTES", 1)
    spec = tiny_spec(image_size=(64, 64), patch_size=16)
    preprocessing = load_preset("einops_vit_tiny_patch16_224").preprocessing.adapt_to(
        spec.image_size
    )
    tracemalloc.start()
    _, few, many = (peak_bytes(tmp_path / str(n), preprocessing, spec, n) for n in (16, 48, 240))
    tracemalloc.stop()
    assert few > 16 * 3 * 64 * 64 * 4  # the measurement works: a batch of inputs is in memory
    assert many < 1.3 * few


# Intervals

# Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3.
WILSON = {
    (81, 263): (0.2553, 0.3662),
    (15, 148): (0.0624, 0.1605),
    (0, 20): (0.0000, 0.1611),
    (1, 29): (0.0061, 0.1718),
}


@pytest.mark.parametrize(("share", "interval"), WILSON.items())
def test_wilson_intervals_are_the_published_ones(share, interval):
    hits, of = share
    assert Proportion(hits, of).interval == pytest.approx(interval, abs=5e-5)
    low, high = Proportion(of - hits, of).interval  # the interval of the misses is mirrored
    assert (1 - high, 1 - low) == pytest.approx(interval, abs=5e-5)


def test_an_interval_stays_between_0_and_1():
    for of in (1, 3, 10_000):
        for hits in (0, of):
            low, high = Proportion(hits, of).interval
            assert 0 <= low < high <= 1
            assert low <= hits / of <= high


# The report as a page


def test_the_html_report_has_the_images(tmp_path, fashion, by_folder):
    page = tmp_path / "page.html"
    vit_export.validate(fashion.path["onnx"], images=by_folder, weights=WEIGHTS, report=page)
    html = page.read_text()
    assert f"On {FEW} images of {by_folder}" in html
    assert f"{FEW} of {FEW}" in html
