"""Labels of the user's images, by sub-folder or CSV; images that are left out, and refusals."""

import csv

import pytest
from fashion_images import PRESET, count_right, slug
from PIL import Image
from support import expect_error, run, run_json

import vit_export
from vit_export.core.errors import RequestError
from vit_export.data.image_folder import SkippedImages
from vit_export.data.labels import find_class
from vit_export.validation.metrics import AccuracyReport, Proportion

FEW = 60


def evaluate(artifact, **options) -> AccuracyReport:
    return vit_export.validate(artifact, **options).images


def write_csv(path, rows, encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


CSV_FORMS = {
    "names": ([], PRESET.labels.__getitem__),
    "names under a header": ([("file", "label")], PRESET.labels.__getitem__),
    "indices": ([], str),
    "indices under a header and a blank line": ([("image", "class"), ()], str),
    "names as folder names": ([], slug),
}


@pytest.mark.parametrize("form", CSV_FORMS.values(), ids=CSV_FORMS.keys())
def test_labels_in_a_csv(tmp_path, fashion, flat, few, form):
    header, name_of = form
    rows = [(f"{i:03}.png", name_of(label)) for i, label in enumerate(few[1])]
    labels = write_csv(tmp_path / "labels.csv", header + rows, encoding="utf-8-sig")
    report = evaluate(fashion.path["onnx"], images=flat, labels_csv=labels)
    assert report.accuracy_after == Proportion(count_right(fashion.path["onnx"], *few), FEW)
    assert report.unlabelled.count == 0


def test_folders_named_by_index(tmp_path, fashion, few):
    for i, (image, label) in enumerate(zip(*few, strict=True)):
        home = tmp_path / "images" / f"{label:02}" / "deeper"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / f"{i:03}.png")
    report = evaluate(fashion.path["onnx"], images=tmp_path / "images")
    assert report.accuracy_after == Proportion(count_right(fashion.path["onnx"], *few), FEW)


def test_images_that_are_not_in_the_csv_take_no_part(tmp_path, fashion, flat, few):
    rows = [(f"{i:03}.png", label) for i, label in enumerate(few[1])][5:]
    labels = write_csv(tmp_path / "labels.csv", rows)
    report = evaluate(fashion.path["onnx"], images=flat, labels_csv=labels)
    rest = [part[5:] for part in few]
    assert report.accuracy_after == Proportion(count_right(fashion.path["onnx"], *rest), FEW - 5)
    assert report.unlabelled == SkippedImages(5, ("000.png", "001.png", "002.png"))


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
    "UTF-16": (b"\xff\xfe\x00", "line 1: not in UTF-8; it is UTF-16. Fix: iconv -f UTF-16"),
    "Latin-1": (b"000.png,Sac \xe0 main\n", "line 1: not in UTF-8; it may be Latin-1"),
    "a missing file in the first row": ("none,3\n000.png,1\n", "line 1: none is no file in"),
    "a missing file of a known class": ("none,Bag\n000.png,Bag\n", "line 1: none is no file in"),
}


@pytest.mark.parametrize(("content", "message"), BAD_CSV.values(), ids=BAD_CSV.keys())
def test_bad_csv(tmp_path, fashion, flat, content, message):
    labels = tmp_path / "labels.csv"
    labels.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RequestError) as refusal:
        evaluate(fashion.path["onnx"], images=flat, labels_csv=labels)
    assert message in f"{refusal.value.message} Fix: {refusal.value.fix}"


def test_a_device_is_no_csv(fashion, flat):
    words = ("validate", fashion.path["onnx"], "--images", flat, "--labels-csv", "/dev/zero")
    assert "/dev/zero is a device, no file" in expect_error(*words, exit_code=2)


def test_bad_labels_are_refused_before_any_work(tmp_path, by_folder):
    (by_folder / "bag").rename(by_folder / "handbags")
    export = ("onnx", "--model", "fashion_mnist", "--out", tmp_path / "f.onnx")
    message = expect_error(*export, "--images", by_folder, exit_code=2)
    assert "handbags: 'handbags' is no class of the model. Fix: Known: Ankle boot" in message
    message = expect_error(*export, "--labels-csv", "none.csv", exit_code=2)
    assert "give --images DIR too" in message
    message = expect_error(*export, "--images", by_folder, "--labels-csv", "none.csv", exit_code=2)
    assert "none.csv: No such file" in message
    assert not (tmp_path / "f.onnx").exists()


CLASSES = ("T-shirt/top", "crane", "c", "crane", "1", "C", "c++")
NAMED = {"t_shirt_top": 0, "T-Shirt Top": 0, "c": 2, "C": 5, "c++": 6, "1": 4, "0": 0, "06": 6}


@pytest.mark.parametrize(("name", "label"), NAMED.items())
def test_a_class_is_found_by_name(name, label):
    """By its exact name, else a similar one, else its index: the class named 1 is not class 1."""
    assert find_class(name, CLASSES, len(CLASSES), "here") == label


AMBIGUOUS = {
    "crane": "here: 'crane' is the name of the classes 1 and 3",  # ImageNet: a bird, a machine
    "C+": "here: 'C+' is the name of the classes 2 and 5",
    "++": "here: '++' is no class",
    "7": "here: '7' is no class",
    "²": "here: '²' is no class",
}


@pytest.mark.parametrize(("name", "message"), AMBIGUOUS.items())
def test_a_name_of_no_class_or_of_several_is_refused(name, message):
    with pytest.raises(RequestError) as refusal:
        find_class(name, CLASSES, len(CLASSES), "here")
    assert message in refusal.value.message


def test_a_model_without_class_names_takes_indices():
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
    printed = run_json("validate", fashion.path["onnx"], "--images", by_folder, "-q")["images"]
    assert printed["count"] == printed["accuracy_after"]["of"] == FEW - count
    assert printed["unreadable"] == {"count": count, "first": [str(one) for one in lost[:3]]}
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
