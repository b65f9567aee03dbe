"""A user's images: accuracy, agreement, what is left out and what is refused, from the outside."""

import csv
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import FASHION, refused, run, run_json, tiny_spec

import vit_export
from vit_export.artifact.manifest import Manifest
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.load import load
from vit_export.core.errors import RequestError
from vit_export.core.progress import silent
from vit_export.data.annotations import read_annotations
from vit_export.data.dataset import Skipped, open_dataset
from vit_export.data.labels import find_class
from vit_export.data.preprocessing import preprocess
from vit_export.model.vit.presets import load_preset
from vit_export.model.vit.state import random_vit
from vit_export.validation import accuracy as examination
from vit_export.validation.accuracy import Examination
from vit_export.validation.metrics import Judgement, Share
from vit_export.validation.verdict import Verdict

NAMES = load_preset("fashion_mnist").labels
WEIGHTS = FASHION / "fashion_mnist.safetensors"
COUNT, FEW = 200, 60


def slug(label):
    """A class as a folder can be called."""
    return NAMES[label].lower().replace("/", "_").replace(" ", "_")


def write_images(folder: Path, images, labels=None) -> Path:
    """PNGs in `folder`, or in folders of their classes in it."""
    for i, image in enumerate(images):
        home = folder / slug(labels[i]) if labels is not None else folder
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / f"{i:03}.png")
    return folder


@pytest.fixture
def few(fashion_subset):
    return fashion_subset[0][:FEW], fashion_subset[1][:FEW].astype(int)


@pytest.fixture
def by_folder(tmp_path, few):
    return write_images(tmp_path / "images", *few)


@pytest.fixture
def flat(tmp_path, few):
    return write_images(tmp_path / "flat", few[0])


def right_of(artifact, images, labels):
    """How many predictions are right, with Pillow, NumPy and the runtime alone."""
    steps = load_preset("fashion_mnist").preprocessing
    inputs = np.stack([preprocess(Image.fromarray(image), steps) for image in images])
    return int((open_artifact(artifact).run(inputs).argmax(1) == labels).sum())


def judged(artifact, **options) -> Judgement:
    return vit_export.validate(artifact, **options).images


# Accuracy and agreement


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_accuracy_before_and_after(tmp_path, fashion, fashion_subset, target):
    images, labels = (part[:COUNT] for part in fashion_subset)
    folder = write_images(tmp_path / "images", images, labels)
    out = tmp_path / fashion.path[target].name
    built = getattr(vit_export, target)("fashion_mnist", out, images=folder)
    found = built.images
    with torch.inference_mode():
        steps = load_preset("fashion_mnist").preprocessing
        inputs = np.stack([preprocess(Image.fromarray(image), steps) for image in images])
        eager = load("fashion_mnist").vit(torch.from_numpy(inputs)).numpy()
    right = int((eager.argmax(1) == labels).sum())
    assert 170 < right < 195  # neither all nor none: a constant would not do
    assert found.accuracy_before == Share(right, COUNT)
    assert found.accuracy_after == Share(right_of(out, images, labels), COUNT)
    assert found.accuracy_after.value == pytest.approx(right / COUNT)
    assert found.agreement == Share(COUNT, COUNT)
    assert found.difference_points == 0
    assert found.worst_snr_db > 100
    assert (folder / found.worst_image).is_file()
    samples = {one.sample for one in built.verdict.against_eager}
    assert sum(name.startswith("image:") for name in samples) == 8
    assert out.read_bytes() == fashion.path[target].read_bytes()


def test_the_command_tells_what_its_twin_does(tmp_path, by_folder, few):
    export = ("onnx", "--model", "fashion_mnist", "--images", by_folder)
    told = run_json(*export, "--out", tmp_path / "f.onnx", "-q")
    assert told["images"]["accuracy_before"] == told["images"]["accuracy_after"]
    assert told["images"]["accuracy_after"]["hits"] == right_of(tmp_path / "f.onnx", *few)
    assert told["images"]["count"] == told["images"]["agreement"]["of"] == FEW
    assert "images" not in told["verdict"]


def test_wrong_labels_are_counted_wrong(tmp_path, fashion_file, few):
    images, labels = few
    right = judged(fashion_file, images=write_images(tmp_path / "right", images, labels))
    wrong = judged(fashion_file, images=write_images(tmp_path / "wrong", images, (labels + 1) % 10))
    assert right.accuracy_after.hits == right_of(fashion_file, images, labels) > FEW / 2
    assert wrong.accuracy_after.hits == right_of(fashion_file, images, (labels + 1) % 10) < FEW / 4


def test_another_model_disagrees(tmp_path, fashion, few, by_folder):
    """Weights whose classes are turned by one: before and after differ in every number."""
    from safetensors.torch import load_file, save_file

    state = load_file(WEIGHTS)
    for name in ("head.classifier.weight", "head.classifier.bias"):
        state[name] = state[name].roll(1, 0)
    save_file(state, tmp_path / "turned.safetensors")
    found = examined(fashion.path["onnx"], by_folder, tmp_path / "turned.safetensors")
    right = right_of(fashion.path["onnx"], *few)
    assert found.agreement.hits == 0
    assert found.accuracy_after.hits == right
    assert found.accuracy_before.hits == right_of(fashion.path["onnx"], few[0], (few[1] - 1) % 10)
    assert found.difference_points == pytest.approx(
        100 * (right - found.accuracy_before.hits) / FEW
    )
    assert found.worst_snr_db < 20


def opened(artifact) -> tuple[object, Manifest]:
    session = open_artifact(artifact)
    return session, read_manifest(session, artifact)


def examined(artifact, folder, weights=WEIGHTS, session=None, verdict=None) -> Judgement:
    """The judgement on `artifact`, or on a `session` in its place, whatever its verdict."""
    real, manifest = opened(artifact)
    images = open_dataset(
        read_annotations(folder, None),
        manifest.preprocessing,
        answer=manifest.spec.answer,
        classes=manifest.spec.classes,
        names=manifest.labels,
        progress=silent,
    )
    with Examination(images) as exam:
        exam.ask_eager(load("fashion_mnist", weights=weights).vit, silent)
        verdict = verdict or vit_export.validate(artifact)
        return exam.judged(verdict, session or real, manifest, silent).images


class Spoilt:
    """An artifact one of whose answers in each batch is not a number."""

    runtime = "a fake"

    def __init__(self, artifact):
        self.session = open_artifact(artifact)

    def run(self, images):
        answers = self.session.run(images).copy()
        answers[0, 3] = np.nan
        return answers


def test_what_is_not_finite_is_neither_right_nor_in_agreement(fashion, by_folder):
    found = examined(fashion.path["onnx"], by_folder, session=Spoilt(fashion.path["onnx"]))
    assert found.not_finite == -(-FEW // 16)
    assert found.agreement.hits == FEW - found.not_finite
    assert found.worst_snr_db == -np.inf
    assert found.accuracy_after.hits < found.accuracy_before.hits


def test_what_is_rejected_is_not_judged(fashion, by_folder):
    rejected = Verdict.unopened(Path("f.onnx"), "fp32", "broken")
    assert examined(fashion.path["onnx"], by_folder, verdict=rejected) is None


def test_without_labels_the_top_class_is_compared(fashion, flat):
    found = judged(fashion.path["onnx"], images=flat, weights=WEIGHTS)
    assert found.agreement == Share(FEW, FEW)
    assert (found.accuracy_before, found.accuracy_after, found.difference_points) == (None,) * 3


def test_without_labels_and_weights_nothing_can_be_said(fashion, flat):
    told = refused("validate", fashion.path["onnx"], "--images", flat, exit_code=2)
    assert "have no labels" in told
    assert "--weights" in told


def test_without_weights_the_artifact_is_judged_alone(fashion, by_folder, few):
    found = judged(fashion.path["onnx"], images=by_folder)
    assert found.accuracy_after.hits == right_of(fashion.path["onnx"], *few)
    assert (found.accuracy_before, found.agreement, found.worst_snr_db) == (None, None, None)


def test_validating_on_images_is_the_commands(fashion, by_folder):
    options = ("--images", by_folder, "--weights", WEIGHTS, "-q")
    told = run_json("validate", fashion.path["onnx"], *options)
    found = judged(fashion.path["onnx"], images=by_folder, weights=WEIGHTS)
    assert told["images"] == json.loads(json.dumps(found.to_mapping()))
    assert found.agreement == Share(FEW, FEW)
    assert judged(fashion.path["onnx"]) is None


def test_judging_an_onnx_file_needs_no_torch(tmp_path, fashion, by_folder):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    command = ("validate", fashion.path["onnx"], "--images", by_folder, "-q")
    done = run(*command, env={"PYTHONPATH": str(tmp_path)})
    assert f"{FEW} images" in done.stdout


# What a file takes


@pytest.fixture
def tiny(tmp_path, tiny_toml):
    """Builds the tiny model, with what it is worth on 21 images."""
    rng = np.random.RandomState(0)
    folder = tmp_path / "noise"
    folder.mkdir()
    for i in range(21):
        Image.fromarray(rng.randint(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{i:02}.png")

    def build(target="onnx", **options):
        return getattr(vit_export, target)(tiny_toml, tmp_path / "t", images=folder, **options)

    return build


@pytest.mark.parametrize("batch", ["1", "4", "64", "2:4:5", "18:20:32"])
def test_every_image_is_judged_at_any_batch(tiny, batch):
    found = tiny(batch=batch).images
    assert found.agreement == Share(21, 21)
    assert found.worst_snr_db > 100


@pytest.mark.parametrize("outputs", ["features", "tokens"])
def test_models_without_classes_are_held_to_their_answers(tiny, outputs):
    found = tiny(outputs=outputs).images
    assert (found.accuracy_before, found.accuracy_after, found.agreement) == (None,) * 3
    assert found.worst_snr_db > 100
    assert found.count == 21


def test_a_model_without_classes_has_none_for_labels(tmp_path, tiny):
    labels = tmp_path / "labels.csv"
    labels.write_text("00.png,1\n")
    with pytest.raises(RequestError, match="answers features, and has no classes"):
        tiny(outputs="features", labels_csv=labels)


def test_sub_folders_mean_nothing_to_a_model_without_classes(tmp_path, tiny_toml, by_folder):
    found = vit_export.onnx(tiny_toml, tmp_path / "t", images=by_folder, outputs="features").images
    assert found.count == FEW


@pytest.mark.parametrize("spool", [1, 10**9])
def test_answers_are_the_same_on_disk_and_in_memory(tiny, monkeypatch, spool):
    monkeypatch.setattr(examination, "SPOOL_BYTES", spool)
    assert tiny().images.agreement == Share(21, 21)


def peak_bytes(folder, steps, spec, count):
    """The most memory of Python and NumPy while `count` images are read and answered."""
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", spec.image_size).save(folder / f"{i:03}.png")
    tracemalloc.reset_peak()
    images = open_dataset(
        read_annotations(folder, None),
        steps,
        answer=spec.answer,
        classes=spec.classes,
        names=(),
        progress=silent,
    )
    with Examination(images) as exam:
        exam.ask_eager(random_vit(spec, 0), silent)
        assert sum(1 for _ in exam._before()) == count  # noqa: SLF001 nothing else shows it
    return tracemalloc.get_traced_memory()[1]


def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(examination, "SPOOL_BYTES", 1)
    spec = tiny_spec(image_size=(64, 64), patch_size=16)
    steps = load_preset("einops_vit_tiny_patch16_224").preprocessing.adapt_to(spec.image_size)
    tracemalloc.start()
    _, few, many = (peak_bytes(tmp_path / str(n), steps, spec, n) for n in (16, 48, 240))
    tracemalloc.stop()
    assert few > 16 * 3 * 64 * 64 * 4  # it is measured: a batch of inputs is in memory
    assert many < 1.3 * few


# Labels


def csv_of(path, rows, encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


CSV_FORMS = {
    "names": ([], NAMES.__getitem__),
    "names under a header": ([("file", "label")], NAMES.__getitem__),
    "indices": ([], str),
    "indices under a header and a blank line": ([("image", "class"), ()], str),
    "names as folders are called": ([], slug),
}


@pytest.mark.parametrize("form", CSV_FORMS.values(), ids=CSV_FORMS.keys())
def test_labels_in_a_csv(tmp_path, fashion, flat, few, form):
    header, spoken = form
    rows = [(f"{i:03}.png", spoken(label)) for i, label in enumerate(few[1])]
    labels = csv_of(tmp_path / "labels.csv", header + rows, encoding="utf-8-sig")
    found = judged(fashion.path["onnx"], images=flat, labels_csv=labels)
    assert found.accuracy_after == Share(right_of(fashion.path["onnx"], *few), FEW)
    assert found.unlabelled.count == 0


def test_folders_called_by_index(tmp_path, fashion, few):
    for i, (image, label) in enumerate(zip(*few, strict=True)):
        home = tmp_path / "images" / f"{label:02}" / "deeper"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / f"{i:03}.png")
    found = judged(fashion.path["onnx"], images=tmp_path / "images")
    assert found.accuracy_after == Share(right_of(fashion.path["onnx"], *few), FEW)


def test_images_that_a_csv_lacks_take_no_part(tmp_path, fashion, flat, few):
    rows = [(f"{i:03}.png", label) for i, label in enumerate(few[1])][5:]
    labels = csv_of(tmp_path / "labels.csv", rows)
    found = judged(fashion.path["onnx"], images=flat, labels_csv=labels)
    kept = [part[5:] for part in few]
    assert found.accuracy_after == Share(right_of(fashion.path["onnx"], *kept), FEW - 5)
    assert found.unlabelled == Skipped(5, ("000.png", "001.png", "002.png"))


def test_images_beside_class_folders_take_no_part(fashion, by_folder, few):
    Image.fromarray(few[0][0]).save(by_folder / "stray.png")
    (by_folder / ".ipynb_checkpoints").mkdir()
    Image.fromarray(few[0][0]).save(by_folder / ".ipynb_checkpoints" / "000.png")
    done = run("validate", fashion.path["onnx"], "--images", by_folder, "-q")
    assert f"{FEW} images" in done.stdout
    assert "1 images have no label and were left out: stray.png" in done.stdout


BAD_CSV = {
    "a missing file": ("none.png,1\n", "line 1: none.png is no file in"),
    "one further down": ("file,label\n000.png,1\n\nx/none.png,1\n", "line 4: x/none.png is no"),
    "outside": ("/000.png,1\n", "line 1: /000.png is no file in"),
    "no class": ("000.png,Handbag\n", "line 1: 'Handbag' is no class of the model"),
    "nearly a class": ("000.png,Trousers\n", "Did you mean 'Trouser'?"),
    "an index too high": ("000.png,10\n", "'10' is no class of the model. Fix: Known: Ankle boot"),
    "a long number": (f"000.png,{'9' * 5000}\n", "is no class of the model"),
    "one column": ("file\n000.png\n", "line 1: 1 columns, 1 filled"),
    "an empty class": ("000.png,\n", "line 1: 2 columns, 1 filled"),
    "three columns": ("000.png,Bag, brown\n", "quote a name that has commas"),
    "a contradiction": ("000.png,1\n./000.png,2\n", "line 2: ./000.png is '2', and '1' further up"),
    "a header alone": ("file,label\n", "labels no image"),
    "nothing": ("", "labels no image"),
    "an open quote": ('000.png,"Bag\n', "can't be read"),
    "no text": (b"\xff\xfe\x00", "can't be read"),
}


@pytest.mark.parametrize(("content", "message"), BAD_CSV.values(), ids=BAD_CSV.keys())
def test_bad_csv(tmp_path, fashion, flat, content, message):
    labels = tmp_path / "labels.csv"
    labels.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RequestError) as refusal:
        judged(fashion.path["onnx"], images=flat, labels_csv=labels)
    assert message in f"{refusal.value.message} Fix: {refusal.value.fix}"


def test_bad_requests_end_before_the_work(tmp_path, by_folder):
    (by_folder / "bag").rename(by_folder / "handbags")
    export = ("onnx", "--model", "fashion_mnist", "--out", tmp_path / "f.onnx")
    told = refused(*export, "--images", by_folder, exit_code=2)
    assert "handbags: 'handbags' is no class of the model. Fix: Known: Ankle boot" in told
    told = refused(*export, "--labels-csv", "none.csv", exit_code=2)
    assert "give --images DIR too" in told
    told = refused(*export, "--images", by_folder, "--labels-csv", "none.csv", exit_code=2)
    assert "none.csv: No such file" in told
    assert not (tmp_path / "f.onnx").exists()


CLASSES = ("T-shirt/top", "crane", "c", "crane", "1", "C", "c++")
CALLED = {"t_shirt_top": 0, "T-Shirt Top": 0, "c": 2, "C": 5, "c++": 6, "1": 4, "0": 0, "06": 6}


@pytest.mark.parametrize(("said", "label"), CALLED.items())
def test_a_class_by_what_it_is_called(said, label):
    """Exactly, else nearly, else by index: the class that is named 1 is not the second."""
    assert find_class(said, CLASSES, len(CLASSES), "here") == label


UNCLEAR = {
    "crane": "here: 'crane' is the name of the classes 1 and 3",  # ImageNet: a bird, a machine
    "C+": "here: 'C+' is the name of the classes 2 and 5",
    "++": "here: '++' is no class",
    "7": "here: '7' is no class",
    "²": "here: '²' is no class",
}


@pytest.mark.parametrize(("said", "message"), UNCLEAR.items())
def test_what_is_called_like_no_class_or_several(said, message):
    with pytest.raises(RequestError) as refusal:
        find_class(said, CLASSES, len(CLASSES), "here")
    assert message in refusal.value.message


def test_a_model_without_class_names_has_indices():
    assert find_class("2", (), 3, "here") == 2
    with pytest.raises(RequestError) as refusal:
        find_class("cat", (), 3, "here")
    assert "no class names: give an index, 0 to 2" in refusal.value.fix


# Images that can't be read


def break_images(folder, count):
    for path in sorted(folder.rglob("*.png"))[:count]:
        path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("count", [1, 6])
def test_unreadable_images_are_left_out_and_named(fashion, by_folder, count):
    lost = [path.relative_to(by_folder) for path in sorted(by_folder.rglob("*.png"))[:count]]
    break_images(by_folder, count)
    told = run_json("validate", fashion.path["onnx"], "--images", by_folder, "-q")["images"]
    assert told["count"] == told["accuracy_after"]["of"] == FEW - count
    assert told["unreadable"] == {"count": count, "first": [str(one) for one in lost[:3]]}
    done = run("validate", fashion.path["onnx"], "--images", by_folder, "-q")
    assert f"{count} images can't be read and were left out: {lost[0]}" in done.stdout
    assert done.stdout.rstrip().endswith(", …") == (count > 3)


@pytest.mark.parametrize("count", [7, FEW])
def test_too_many_unreadable_images_are_refused(tmp_path, by_folder, count):
    break_images(by_folder, count)
    out = tmp_path / "f.onnx"
    export = ("onnx", "--model", "fashion_mnist", "--out", out, "--images", by_folder)
    done = run(*export, exit_code=2)
    assert f"{count} of {FEW} images in {by_folder} can't be read" in done.stderr
    assert "Fix: repair or remove them; up to 10%" in done.stderr
    assert "eager" not in done.stderr  # no stage of the work has begun
    assert not out.exists()


def test_an_elongated_image_is_left_out(tmp_path, tiny):
    Image.new("RGB", (2000, 1)).save(tmp_path / "noise" / "thin.png")
    found = tiny().images
    assert (found.count, found.unreadable) == (21, Skipped(1, ("thin.png",)))


# The interval

# Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3.
WILSON = {
    (81, 263): (0.2553, 0.3662),
    (15, 148): (0.0624, 0.1605),
    (0, 20): (0.0000, 0.1611),
    (1, 29): (0.0061, 0.1718),
}


@pytest.mark.parametrize(("share", "interval"), WILSON.items())
def test_wilson_intervals_are_those_in_print(share, interval):
    hits, of = share
    assert Share(hits, of).interval == pytest.approx(interval, abs=5e-5)
    low, high = Share(of - hits, of).interval  # of the misses: mirrored
    assert (1 - high, 1 - low) == pytest.approx(interval, abs=5e-5)


def test_an_interval_stays_among_shares():
    for of in (1, 3, 10_000):
        for hits in (0, of):
            low, high = Share(hits, of).interval
            assert 0 <= low < high <= 1
            assert low <= hits / of <= high


def test_the_page_tells_of_the_images(tmp_path, fashion, by_folder):
    page = tmp_path / "page.html"
    vit_export.validate(fashion.path["onnx"], images=by_folder, weights=WEIGHTS, report=page)
    told = page.read_text()
    assert f"On {FEW} images of {by_folder}" in told
    assert f"{FEW} of {FEW}" in told
