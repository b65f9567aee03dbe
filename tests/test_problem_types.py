"""What logits are for: one class, any classes, or numbers. The judge is transformers' pipeline."""

import csv
import json

import numpy as np
import onnx
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from support import LazyDict, expect_error, mark_slow_except, run, run_json
from torch import nn

import vit_export
from vit_export.artifact.manifest import KEY
from vit_export.backends.open import open_artifact
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.core.errors import RequestError
from vit_export.validation.samples import PHOTOS as NAMES
from vit_export.validation.samples import find_photo

SIZES = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 8, "intermediate_size": 48}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 16, "width": 16},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "resample": 2,
}
PHOTOS = [find_photo(name) for name in NAMES]
MODELS = {
    "one class": (None, 4),
    "single label": ("single_label_classification", 4),
    "multi label": ("multi_label_classification", 7),
    "one row": (None, 1),
    "multi label of one": ("multi_label_classification", 1),
    "regression": ("regression", 3),
    "regression of one": ("regression", 1),
}
"""A `problem_type` of transformers, and a number of labels."""
SIGMOIDS = ["multi label", "one row", "multi label of one"]
REGRESSIONS = ["regression", "regression of one"]


def make_model(kind):
    """A model of transformers whose logits are large enough for a softmax to differ."""
    problem_type, labels = MODELS[kind]
    torch.manual_seed(0)
    config = transformers.ViTConfig(**SIZES, num_labels=labels, problem_type=problem_type)
    model = transformers.ViTForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, mean=0.05, std=0.3)
        model.classifier.bias.fill_(1.5)
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind, as transformers saves it."""
    root = tmp_path_factory.mktemp("folders")
    for kind in MODELS:
        make_model(kind).save_pretrained(root / kind)
        (root / kind / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return root


@pytest.fixture(scope="module")
def files(folders, tmp_path_factory):
    """An ONNX file of each kind, which answers logits; it is made when it is first read."""
    root = tmp_path_factory.mktemp("files")

    def make(kind):
        return vit_export.onnx(None, root / f"{kind}.onnx", weights=folders / kind).path

    return LazyDict(make)


def ask_pipeline(folder, images, top):
    """The answers of transformers' own pipeline."""
    model = transformers.ViTForImageClassification.from_pretrained(folder)
    processor = transformers.ViTImageProcessorPil.from_pretrained(folder)
    pipeline = transformers.ImageClassificationPipeline(model=model, image_processor=processor)
    return pipeline([Image.open(image).convert("RGB") for image in images], top_k=top)


def read(prediction):
    scores = prediction.values or prediction.probabilities
    return dict(zip(prediction.classes, scores, strict=True))


@pytest.mark.parametrize("kind", mark_slow_except(MODELS, "one class", "multi label", "regression"))
def test_predict_answers_as_the_pipeline(files, folders, kind):
    predictions = vit_export.predict(files[kind], PHOTOS, top=3)
    theirs = ask_pipeline(folders / kind, PHOTOS, top=3)
    assert len({round(one["score"], 3) for image in theirs for one in image}) > 2
    for ours, expected in zip(predictions, theirs, strict=True):
        scores = {one["label"]: one["score"] for one in expected}
        assert read(ours) == pytest.approx(scores, abs=2e-5)
        if kind in REGRESSIONS:
            assert [*ours.classes] == sorted(scores)  # in the model's order
            assert ours.probabilities == ()
        else:
            assert [*ours.classes] == [*scores]  # the most probable one first
            assert ours.values == ()


def test_the_command_says_what_the_numbers_are(files):
    photo = PHOTOS[0]
    done = run("predict", files["multi label"], photo)
    assert "probability of its own" in done.stderr
    assert "probability of its own" not in run("predict", files["one class"], photo).stderr
    table = run("predict", files["regression"], photo).stdout
    assert "value" in table.splitlines()[0]
    assert "%" not in table
    (document,) = run_json("predict", files["regression"], photo)
    assert (document["probabilities"], document["score_function"]) == ([], "none")
    text = run("predict", files["regression"], photo, "--csv").stdout
    rows = [*csv.DictReader(text.splitlines())]
    assert [row["index"] for row in rows] == ["0", "1", "2"]
    assert [float(row["value"]) for row in rows] == pytest.approx(document["values"])


def find_scores(kind, logits):
    """As `ImageClassificationPipeline.postprocess` computes them."""
    if kind in SIGMOIDS:
        return logits.sigmoid()
    return logits if kind in REGRESSIONS else logits.softmax(-1)


HEADS = [
    ("multi label", "sigmoid", "onnx"),
    ("multi label", "top5", "torchscript"),
    ("multi label", "sigmoid", "torchscript"),
    ("multi label", "top5", "onnx"),
    ("one row", "sigmoid", "onnx"),
    ("one class", "softmax", "torchscript"),
]
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("case", mark_slow_except(HEADS, *HEADS[:2]), ids=map(str, HEADS))
def test_a_head_answers_as_the_pipeline(tmp_path, folders, case):
    kind, head, target = case
    out = tmp_path / "f"
    built = getattr(vit_export, target)(None, out, weights=folders / kind, head=head)
    caveats = ("reading assumed: problem_type",) if kind == "one row" else ()
    assert (built.verdict.status, built.verdict.caveats) == ("PROVEN", caveats)
    with torch.no_grad():
        expected = find_scores(kind, make_model(kind)(pixel_values=IMAGES).logits)
    answer = open_artifact(out).run(IMAGES.numpy())
    if head == "top5":
        best, classes = expected.topk(5)
        np.testing.assert_array_equal(answer[..., 0], classes)
        np.testing.assert_allclose(answer[..., 1], best, atol=1e-5)
    else:
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    (prediction,) = vit_export.predict(out, [PHOTOS[0]], top=1)
    (theirs,) = ask_pipeline(folders / kind, [PHOTOS[0]], top=1)
    assert read(prediction) == pytest.approx({theirs[0]["label"]: theirs[0]["score"]}, abs=2e-5)


REFUSALS = {
    ("multi label", "softmax"): ("probability of its own", "--head sigmoid"),
    ("one row", "softmax"): ("one class", "--head sigmoid"),
    ("one row", "top5"): ("one class", "--head sigmoid"),
    ("regression", "softmax"): ("regression", "leave --head out"),
    ("regression", "sigmoid"): ("regression", "leave --head out"),
    ("regression of one", "top5"): ("regression", "leave --head out"),
}


@pytest.mark.parametrize(
    "case", mark_slow_except(REFUSALS, *[*REFUSALS][:1]), ids=map(str, REFUSALS)
)
def test_a_head_without_meaning_is_refused_with_one_that_works(tmp_path, folders, case):
    (kind, head), (reason, fix) = case, REFUSALS[case]
    with pytest.raises(RequestError, match=reason) as refused:
        vit_export.onnx(None, tmp_path / "f.onnx", weights=folders / kind, head=head)
    assert fix in refused.value.fix
    options = {"head": "sigmoid"} if "sigmoid" in fix else {}
    built = vit_export.onnx(None, tmp_path / "f.onnx", weights=folders / kind, **options)
    assert built.verdict.status == "PROVEN"


# What a checkpoint records, what the user says, and what is assumed


@pytest.mark.parametrize(
    ("kind", "problem_type", "assumed"),
    [
        ("one class", "single_label", {}),
        ("single label", "single_label", {}),
        ("multi label", "multi_label", {}),
        ("one row", "multi_label", {"problem_type": "multi_label"}),
        ("regression of one", "regression", {}),
    ],
)
def test_a_config_says_what_the_logits_are_for(folders, kind, problem_type, assumed):
    for loaded in (load(weights=folders / kind), load(make_model(kind))):
        assert loaded.problem_type == problem_type
        assert loaded.assumed.get("problem_type") == assumed.get("problem_type")
    assert vit_export.inspect(folders / kind).problem_type == problem_type


def test_the_library_does_not_confirm_what_one_row_means(files):
    """The logits of a regression and of a class of its own are the same."""
    assert vit_export.inspect(files["one row"]).assumed["problem_type"] == "multi_label"


def test_a_bare_checkpoint_has_an_assumption_that_the_user_can_replace(tmp_path):
    weights = tmp_path / "bare.safetensors"
    save_file(make_model("multi label").state_dict(), weights)
    bare = {"heads": 3}
    loaded = load(weights=weights, hints=CheckpointHints(**bare))
    assert loaded.assumed["problem_type"] == loaded.problem_type == "single_label"
    loaded = load(weights=weights, hints=CheckpointHints(**bare, problem_type="multi_label"))
    assert (loaded.problem_type, "problem_type" in loaded.assumed) == ("multi_label", False)
    out, words = tmp_path / "f.onnx", ("--heads", "3", "--problem-type", "multi_label")
    document = run_json("onnx", "--weights", weights, *words, "--head", "sigmoid", "--out", out)
    assert document["verdict"]["status"] == "PROVEN"
    assert vit_export.inspect(out).problem_type == "multi_label"


def test_a_module_in_memory_and_a_preset_take_a_problem_type():
    hints = CheckpointHints(problem_type="multi_label")
    assert load(make_model("one class"), hints=hints).problem_type == "multi_label"
    assert load("fashion_mnist", hints=hints).problem_type == "multi_label"


def change_config(source, folder, **values):
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("value", ["multi_label", 7, ["regression"], {"a": 1}])
def test_an_unknown_problem_type_is_refused(tmp_path, folders, value):
    folder = change_config(folders / "multi label", tmp_path / "changed", problem_type=value)
    with pytest.raises(RequestError, match="problem_type") as refused:
        load(weights=folder)
    assert "--problem-type single_label" in refused.value.fix
    hints = CheckpointHints(problem_type="single_label")
    assert load(weights=folder, hints=hints).problem_type == "single_label"


def test_one_class_of_one_is_refused_as_in_transformers(tmp_path, folders):
    kind = {"problem_type": "single_label_classification"}
    folder = change_config(folders / "one row", tmp_path / "changed", **kind)
    with pytest.raises(ValueError, match="num_labels > 1"):
        transformers.ViTConfig.from_pretrained(folder)
    with pytest.raises(RequestError, match="two or more classes") as refused:
        load(weights=folder)
    assert "--problem-type multi_label" in refused.value.fix
    hints = CheckpointHints(problem_type="regression")
    assert load(weights=folder, hints=hints).problem_type == "regression"


def test_a_model_without_classes_has_no_problem_type(tmp_path, folders):
    out = tmp_path / "f.onnx"
    words = ("onnx", "--weights", folders / "multi label", "--outputs", "features", "--out", out)
    run(*words, "-q")
    assert vit_export.inspect(out).problem_type is None
    headless = tmp_path / "headless"
    make_model("one class").vit.save_pretrained(headless)
    words = ("onnx", "--weights", headless, "--problem-type", "regression", "--out", out)
    assert "has no classes" in expect_error(*words, exit_code=2)


def edit_problem_type(source, path, problem_type):
    """Write the file with another problem type in its manifest."""
    model = onnx.load(source)
    (manifest,) = (one for one in model.metadata_props if one.key == KEY)
    manifest.value = json.dumps(json.loads(manifest.value) | {"problem_type": problem_type})
    onnx.save(model, path)
    return path


def test_a_false_problem_type_is_rejected(tmp_path, files, folders):
    path = edit_problem_type(files["multi label"], tmp_path / "f.onnx", "single_label")
    verdict = vit_export.validate(path, weights=folders / "multi label")
    assert "its problem type is single_label, the model's multi_label" in verdict.problems
    path = edit_problem_type(files["one class"], tmp_path / "g.onnx", "multi_label")
    verdict = vit_export.validate(path, weights=folders / "one class")
    assert "its problem type is multi_label, the model's single_label" in verdict.problems


def test_a_problem_type_that_nothing_records_is_not_checked(files, folders):
    note = "problem type not checked"
    assert note in vit_export.validate(files["multi label"]).caveats
    asked = vit_export.validate(files["multi label"], problem_type="multi_label")
    assert (asked.status, note in asked.caveats) == ("PROVEN", False)
    assert note not in vit_export.validate(files["one class"]).caveats
    known = vit_export.validate(files["multi label"], weights=folders / "multi label")
    assert (known.status, note in known.caveats) == ("PROVEN", False)
    wrong = vit_export.validate(files["multi label"], problem_type="regression")
    assert wrong.status == "REJECTED"


# Accuracy on images


def test_images_compare_the_classes_above_half(files, folders, tmp_path):
    path, folder = files["multi label"], tmp_path / "images"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    for i, photo in enumerate(PHOTOS):
        (folder / "ab"[i % 2] / photo.name).write_bytes(photo.read_bytes())
    report = vit_export.validate(path, images=folder, weights=folders / "multi label").images
    assert (report.accuracy_after, report.agreement) == (None, None)
    assert report.same_classes.hits == report.same_classes.of == len(PHOTOS)
    numbers = vit_export.validate(
        files["regression"], images=folder, weights=folders / "regression"
    ).images
    assert (numbers.agreement, numbers.same_classes) == (None, None)
    assert numbers.worst_snr_db > 60
    labels = tmp_path / "labels.csv"
    labels.write_text("".join(f"{photo.name},0\n" for photo in folder.glob("a/*")))
    words = ("validate", path, "--images", folder / "a", "--labels-csv", labels)
    assert "any of its classes" in expect_error(*words, exit_code=2)
