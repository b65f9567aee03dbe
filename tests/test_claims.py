"""A manifest is a claim: whoever edits one gets no verdict that the file does not deserve."""

import re
import shutil

import pytest
from edited_files import (
    edit_manifest,
    move_weights_out,
    set_location,
    set_value,
    tamper_weight,
)
from support import ROOT

import vit_export
from vit_export import ProofError, RequestError
from vit_export.backends.onnx.arithmetic import find_precisions
from vit_export.backends.onnx.content import read_content
from vit_export.validation.claims import choose_tolerance
from vit_export.validation.tolerances import TOLERANCES, combine

FASHION = ROOT / "models" / "fashion_mnist"
WEIGHTS = FASHION / "fashion_mnist.safetensors"
TURNED = ["Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot", "T"]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The trained model in fp32, and the same file with one weight changed."""
    folder = tmp_path_factory.mktemp("claims")
    path = folder / "honest.onnx"
    vit_export.onnx("fashion_mnist", path)
    return path, tamper_weight(path, folder / "tampered.onnx")


def raise_tolerance(values):
    values["tolerance"] |= {"floors": 1e9, "relative": 1e9}


def claim_4_bits(values):
    values["precision"] = "weights-int4"
    values["tolerance"] |= {"floors": 0, "relative": 0, "least_snr_db": 9, "alone_snr_db": 55}


def claim_a_low_budget(values):
    values["precision"] = "auto"
    values["tolerance"] |= {"floors": 0, "relative": 0, "least_snr_db": 1}


def raise_floors(values):
    values["reference"]["floors"] = [1e9] * 8


FALSE_TOLERANCES = {
    "none": (dict, "off by"),
    "a raised tolerance": (raise_tolerance, "off by"),
    "another precision": (claim_4_bits, "its manifest claims weights-int4"),
    "a low budget": (claim_a_low_budget, "off by"),
    "raised floors": (raise_floors, "this model's own rounding noise is"),
}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alone", "with weights"])
@pytest.mark.parametrize(
    ("change", "problem"), FALSE_TOLERANCES.values(), ids=FALSE_TOLERANCES.keys()
)
def test_no_claim_about_tolerance_saves_a_tampered_file(honest, tmp_path, change, problem, weights):
    edited = edit_manifest(honest[1], tmp_path / "f.onnx", change)
    verdict = vit_export.validate(edited, weights=weights)
    assert verdict.status == "REJECTED"
    if change is raise_floors and weights is not None:
        problem = "off by"  # the floors are computed afresh
    assert any(problem in one for one in verdict.problems), verdict.problems


def test_locate_allows_no_more_than_the_table_either(honest, tmp_path):
    edited = edit_manifest(honest[1], tmp_path / "f.onnx", raise_tolerance)
    with pytest.raises(ProofError, match="leaves the model at"):
        vit_export.locate(edited)


FALSE_STEPS = {
    "mean": (set_value("preprocessing", "mean", value=[0.9]), "has mean (0.9,)"),
    "std": (set_value("preprocessing", "std", value=[0.9]), "has std (0.9,)"),
    "interpolation": (
        set_value("preprocessing", "interpolation", value="nearest"),
        "has interpolation nearest",
    ),
    "labels": (set_value("labels", value=TURNED), "it calls class 0 'Trouser'"),
    "a digest": (
        set_value("reference", "digests", 3, value="0" * 64),
        "normal:1 is not the sample that its manifest names",
    ),
    "most digests": (
        lambda values: values["reference"].update(
            digests=[values["reference"]["digests"][0], *["0" * 64] * 7]
        ),
        "is not the sample that its manifest names",
    ),
}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alone", "with weights"])
@pytest.mark.parametrize(("change", "problem"), FALSE_STEPS.values(), ids=FALSE_STEPS.keys())
def test_false_labels_preprocessing_and_samples_are_rejected(
    honest, tmp_path, change, problem, weights
):
    edited = edit_manifest(honest[0], tmp_path / "f.onnx", change)
    verdict = vit_export.validate(edited, weights=weights)
    assert verdict.status == "REJECTED"
    assert any(problem in one for one in verdict.problems), verdict.problems


def test_an_honest_file_is_proven_without_a_caveat(honest):
    for weights in (None, WEIGHTS):
        verdict = vit_export.validate(honest[0], weights=weights)
        assert (verdict.status, verdict.caveats) == ("PROVEN", ())
        assert verdict.reference.startswith(
            "eager PyTorch" if weights else "the file's own answers"
        )


def forget_preset(values):
    values["preset"] = ""
    values["labels"] = TURNED


def test_what_nothing_gives_is_named_as_unchecked(honest, tmp_path):
    edited = edit_manifest(honest[0], tmp_path / "f.onnx", forget_preset)
    verdict = vit_export.validate(edited)
    assert verdict.status == "PROVEN"
    assert verdict.caveats == ("labels not checked", "preprocessing not checked")
    steps = {"mean": "0.286", "std": "0.353", "resize": "28x28", "interpolation": "bilinear"}
    named = vit_export.validate(edited, model="fashion_mnist")
    assert any("it calls class 0 'Trouser'" in one for one in named.problems)
    listed = vit_export.validate(edited, labels=FASHION / "labels.txt", **steps)
    assert any("it calls class 0 'Trouser'" in one for one in listed.problems)


def test_options_of_the_export_have_to_be_repeated_to_be_checked(tmp_path):
    path, labels = tmp_path / "f.onnx", tmp_path / "labels.txt"
    labels.write_text("\n".join(TURNED))
    vit_export.onnx("fashion_mnist", path, mean="0.3", labels=labels)
    verdict = vit_export.validate(path, weights=WEIGHTS)
    assert verdict.caveats == ("labels not checked", "preprocessing not checked")
    repeated = vit_export.validate(path, weights=WEIGHTS, mean="0.3", labels=labels)
    assert (repeated.status, repeated.caveats) == ("PROVEN", ())
    assert vit_export.validate(path, mean="0.4", labels=labels).status == "REJECTED"


MEASURED_STEPS = """
[vit]
image_size = 16
channels = 3
patch_size = 8
classes = 5
width = 24
depth = 1
heads = 3
mlp_ratio = 2.0

[preprocessing]
mean = [0.1, 0.2, 0.3]
std = [0.5, 0.5, 0.5]
resize = 16
crop = [16, 16]
interpolation = "bilinear"
"""


@pytest.fixture
def checkpoint(tmp_path):
    """A small checkpoint of Hugging Face with labels and without a preprocessor_config.json."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    sizes |= {"intermediate_size": 48, "image_size": 16, "patch_size": 8}
    config = ViTConfig(**sizes, id2label=dict(enumerate("abcde")), label2id={})
    ViTForImageClassification(config).save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_the_json_files_of_a_checkpoint_give_its_labels(checkpoint, tmp_path):
    folder, path = checkpoint, tmp_path / "f.onnx"
    vit_export.onnx(None, path, weights=folder)
    verdict = vit_export.validate(path, weights=folder)
    assert (verdict.status, verdict.caveats) == ("PROVEN", ())
    names = ["b", "a", "c", "d", "e"]
    edited = edit_manifest(path, tmp_path / "g.onnx", set_value("labels", value=names))
    assert vit_export.validate(edited, weights=folder).status == "REJECTED"


def test_an_assumed_preprocessing_does_not_make_an_honest_file_false(checkpoint, tmp_path):
    path, toml = tmp_path / "f.onnx", tmp_path / "mine.toml"
    toml.write_text(MEASURED_STEPS)
    vit_export.onnx(str(toml), path, weights=checkpoint)
    verdict = vit_export.validate(path, weights=checkpoint)
    assert (verdict.status, verdict.caveats) == ("PROVEN", ("preprocessing not checked",))
    assert vit_export.validate(path, weights=checkpoint, mean="0.5").status == "REJECTED"
    assert vit_export.validate(path, weights=checkpoint, model=str(toml)).caveats == ()


# Samples drawn at validation


def test_some_samples_come_from_a_seed_that_the_verdict_names(honest):
    first = vit_export.validate(honest[0], weights=WEIGHTS)
    again = vit_export.validate(honest[0], weights=WEIGHTS, seed=first.seed)
    other = vit_export.validate(honest[0], weights=WEIGHTS, seed=(first.seed + 1) % 2**32)
    recipes = [{one.sample for one in v.against_eager} for v in (first, again, other)]
    assert recipes[0] == recipes[1] != recipes[2]
    assert (first.samples, len(recipes[0])) == (12, 12)
    assert vit_export.validate(honest[0]).seed is None


@pytest.mark.parametrize("options", [{"preprocess": "graph"}, {"head": "top5"}])
def test_files_of_every_interface_answer_drawn_samples(tmp_path, options):
    path = tmp_path / "f.onnx"
    vit_export.onnx("fashion_mnist", path, **options)
    for seed in (0, 2**32 - 1):
        assert vit_export.validate(path, weights=WEIGHTS, seed=seed).status == "PROVEN"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"seed": 1}, "need the model itself"),
        ({"seed": -1, "weights": WEIGHTS}, "--seed is -1"),
        ({"min_snr": 20}, "--min-snr 20 is below 60 dB"),
        ({"min_snr": float("nan")}, "--min-snr is nan"),
    ],
)
def test_requests_that_make_no_sense_are_refused(honest, request_, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        vit_export.validate(honest[0], **request_)


# Arithmetic in a file, and its tolerance

FORMS = {
    "fp32": ({}, {"fp32"}),
    "fp16": ({"precision": "fp16"}, {"fp16"}),
    "int8": ({"precision": "int8"}, {"int8"}),
    "int8 per token": (
        {"precision": "int8", "scales": "token"},
        {"int8-static", "weights-int8"},
    ),
    "weights-int8": ({"precision": "weights-int8"}, {"weights-int8"}),
    "weights-int4": ({"precision": "weights-int4", "opset": 21}, {"weights-int4"}),
    "weights-int4 for onnxruntime": (
        {"precision": "weights-int4", "flavour": "onnxruntime"},
        {"weights-int4"},
    ),
    "pixels": ({"preprocess": "graph", "head": "top5"}, {"fp32"}),
}


@pytest.mark.parametrize(("options", "expected"), FORMS.values(), ids=FORMS.keys())
def test_the_arithmetic_is_read_from_the_file(tmp_path, options, expected):
    path = tmp_path / "f.onnx"
    vit_export.onnx("fashion_mnist", path, **options)
    assert find_precisions(read_content(path)) == expected


def test_the_least_exact_arithmetic_sets_the_tolerance():
    mixed = combine({"fp32", "int8", "weights-int4"})
    assert mixed.least_snr_db == TOLERANCES["weights-int4"].least_snr_db
    assert mixed.alone_snr_db == TOLERANCES["int8"].alone_snr_db
    assert combine({"unknown"}) == TOLERANCES["fp32"]


@pytest.mark.slow  # a search for precisions
def test_a_budget_only_makes_the_tolerance_stricter(tmp_path):
    path = tmp_path / "f.onnx"
    built = vit_export.onnx("fashion_mnist", path, precision="auto", min_snr=30)
    assert "at least 30 dB" in built.verdict.limit
    claimed = vit_export.validate(path)
    assert "at least 30 dB, the budget that the file claims" in claimed.limit
    lowered = edit_manifest(
        path, tmp_path / "g.onnx", set_value("tolerance", "least_snr_db", value=1.0)
    )
    least = TOLERANCES["int8"].least_snr_db
    assert vit_export.validate(lowered).limit.startswith(f"at least {least:g} dB")
    assert vit_export.validate(lowered, min_snr=60).status == "REJECTED"
    with pytest.raises(RequestError, match="--min-snr 14 is below 15 dB"):
        vit_export.validate(lowered, min_snr=14)
    with pytest.raises(RequestError, match="--min-snr 14 is below 15 dB"):
        vit_export.onnx("fashion_mnist", tmp_path / "h.onnx", precision="auto", min_snr=14)


@pytest.mark.parametrize("claimed", ["fp32", "fp16", "weights-int8"])
def test_a_claim_of_a_stricter_precision_is_rejected(tmp_path, claimed):
    path = tmp_path / "f.onnx"
    vit_export.onnx("fashion_mnist", path, precision="int8")
    edited = edit_manifest(path, path, set_value("precision", value=claimed))
    verdict = vit_export.validate(edited)
    sentence = f"its manifest claims {claimed}, and the file computes in int8"
    assert (verdict.status, sentence in verdict.problems) == ("REJECTED", True)


def test_an_engine_that_cannot_be_read_has_the_tolerance_that_it_claims(honest):
    from vit_export.backends.open import open_artifact, read_manifest

    manifest = read_manifest(open_artifact(honest[0]), honest[0])
    assert choose_tolerance(manifest, None) == TOLERANCES["fp32"]


# External weights


@pytest.fixture
def external(honest, tmp_path):
    """A file, and the file beside it that has its weights."""
    path = tmp_path / "f.onnx"
    return path, move_weights_out(honest[0], path)


@pytest.mark.parametrize("command", ["validate", "predict", "inspect"])
def test_changed_external_weights_are_noticed_when_the_file_is_opened(external, command):
    path, data = external
    calls = {
        "validate": lambda: vit_export.validate(path),
        "predict": lambda: vit_export.predict(path, [FASHION / "images" / "bag_1.png"]),
        "inspect": lambda: vit_export.inspect(path),
    }
    calls[command]()
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    with pytest.raises(RequestError, match="has changed: its SHA-256 begins with"):
        calls[command]()


def test_external_weights_without_a_hash_in_their_name_are_refused(external):
    path, data = external
    shutil.copy(data, data.with_name("weights.data"))
    set_location(path, "weights.data")
    with pytest.raises(RequestError, match=r"weights in 'weights.data', which has no hash"):
        vit_export.validate(path)


# A file that changes while it is proven


def test_a_file_that_changes_between_proof_and_rename_is_noticed(tmp_path, tiny_toml, monkeypatch):
    from vit_export.api import export
    from vit_export.core.errors import BuildError

    proven = export.validate_staged

    def prove_and_change(stage, *arguments, **options):
        verdict = proven(stage, *arguments, **options)
        with stage.file.open("ab") as file:
            file.write(b"\x00")
        return verdict

    monkeypatch.setattr(export, "validate_staged", prove_and_change)
    out = tmp_path / "f.onnx"
    with pytest.raises(BuildError, match="changed while it was proven"):
        vit_export.onnx(tiny_toml, out)
    assert not out.exists()
