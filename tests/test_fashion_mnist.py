"""A trained model on real images: eager, ONNX and TorchScript answer alike."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import FASHION, ROOT, need, run, run_json

from vit_export.backends.open import open_artifact
from vit_export.checkpoints.load import load
from vit_export.data.decode import load_image
from vit_export.data.preprocessing import preprocess
from vit_export.model.vit.presets import load_preset

SAMPLES = sorted((FASHION / "images").glob("*.png"))
DATASET = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="module")
def inputs(fashion_subset):
    preprocessing = load_preset("fashion_mnist").preprocessing
    images = map(Image.fromarray, fashion_subset[0])
    return np.stack([preprocess(image, preprocessing) for image in images])


def test_eager_and_both_files_agree_on_500_test_images(fashion, fashion_subset, inputs):
    with torch.inference_mode():
        eager = load("fashion_mnist").vit(torch.from_numpy(inputs)).numpy()
    labels = fashion_subset[1]
    accuracy = (eager.argmax(1) == labels).mean()
    assert 0.88 < accuracy < 0.95
    for target, path in fashion.path.items():
        answers = open_artifact(path).run(inputs)
        assert (answers.argmax(1) == eager.argmax(1)).all(), target
        assert (answers.argmax(1) == labels).mean() == accuracy
        np.testing.assert_allclose(answers, eager, atol=2e-5)


def test_twenty_samples_ship():
    assert len(SAMPLES) == 20
    assert (FASHION / "fashion_mnist.safetensors").stat().st_size < 4_000_000
    assert all(load_image(path, "L").size == (28, 28) for path in SAMPLES)


def test_both_files_classify_the_samples_alike(fashion):
    printed = {t: run_json("predict", path, *SAMPLES) for t, path in fashion.path.items()}
    names = [[one["classes"][0] for one in predictions] for predictions in printed.values()]
    assert names[0] == names[1]
    slugs = [re.sub(r"[/ ]", "_", name.lower()) for name in names[0]]
    right = [path.stem.startswith(slug) for path, slug in zip(SAMPLES, slugs, strict=True)]
    assert sum(right) >= 16


def test_images_of_the_user_join_the_proof_and_not_the_manifest(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in SAMPLES[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "f.onnx"
    printed = run_json("onnx", "--model", "fashion_mnist", "--images", folder, "--out", out, "-q")
    samples = {one["sample"] for one in printed["verdict"]["against_eager"]}
    assert {f"image:{path.name}" for path in SAMPLES[:3]} < samples
    again = run_json("validate", out, "-q")
    assert not any(one["sample"].startswith("image:") for one in again["against_eager"])


def test_predict_takes_an_image_of_any_size_and_mode(tmp_path, fashion_file):
    large = Image.open(SAMPLES[0]).resize((300, 200)).convert("RGBA")
    large.save(tmp_path / "large.png")
    (prediction,) = run_json("predict", fashion_file, tmp_path / "large.png", "--top", "3")
    assert len(prediction["classes"]) == 3
    assert prediction["probabilities"] == sorted(prediction["probabilities"], reverse=True)
    assert 0 < sum(prediction["probabilities"]) <= 1


def test_validating_afresh_from_the_weights(fashion_file):
    weights = FASHION / "fashion_mnist.safetensors"
    verdict = run_json("validate", fashion_file, "--weights", weights, "-q")
    assert verdict["status"] == "PROVEN"
    assert "afresh" in verdict["reference"]


def test_validating_against_other_weights_is_rejected(tmp_path, fashion_file):
    from safetensors.torch import load_file, save_file

    state = load_file(FASHION / "fashion_mnist.safetensors")
    state["head.classifier.bias"][0] += 0.01
    save_file(state, tmp_path / "other.safetensors")
    done = run(
        *("validate", fashion_file, "--weights", tmp_path / "other.safetensors", "-q", "--json"),
        exit_code=4,
    )
    assert json.loads(done.stdout)["verdict"]["status"] == "REJECTED"


@pytest.mark.slow
def test_the_model_card_has_the_accuracy():
    """On all 10,000 test images, by the command in the card."""
    fix = "apt-get install dataset-fashion-mnist, or scripts/test --apt"
    need("fashion-mnist", present=DATASET.exists(), fix=fix)
    done = run(ROOT / "scripts" / "train_fashion_mnist.py", "--epochs", "0", command="python")
    (measured,) = re.findall(r"10,000 test images: ([\d.]+)%", done.stdout)
    assert f"**{measured} %**" in (FASHION / "README.md").read_text()
