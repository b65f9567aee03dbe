"""A manifest comes back as it was written; a broken field is refused by its name."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support import VARIANTS, tiny_spec

import vit_export
from vit_export import RequestError
from vit_export.artifact.batch import Batch
from vit_export.artifact.layouts import LAYOUT
from vit_export.artifact.manifest import Manifest
from vit_export.artifact.records import BuildSettings, CalibrationInfo, Fp16Range, GraphInfo
from vit_export.artifact.reference import Reference
from vit_export.artifact.tolerance import Tolerance
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.data.preprocessing import Preprocessing

LAYOUT_1 = Path(__file__).with_name("data") / "layout1"
"""Files that the version before layout 2 wrote."""


def reference(answers):
    return Reference(
        recipes=("normal:1", "image:cat.png", "constant:0.5"),
        digests=("a" * 64, "b" * 64, "c" * 64),
        answers=np.asarray(answers, np.float32),
        floors=(1e-6, 2e-6, 3e-6),
    )


HEADS = {True: "softmax", False: "logits"}
"""A head for models with classes, and for those without."""


def make_steps(spec):
    channels, *size = spec.signature.image_shape
    half = (0.5,) * channels
    mode = "L" if channels == 1 else "RGB"
    return Preprocessing(mode=mode, resize=max(size), crop=tuple(size), mean=half, std=half)


def manifest(**changes):
    spec = changes.pop("spec", tiny_spec())
    classes = spec.signature.classes
    values = {
        "target": "onnx",
        "model": "tiny",
        "signature": spec.signature,
        "spec": spec,
        "overrides": {"classes": 5},
        "precision": "fp32",
        "batch": Batch.parse("1:8:16"),
        "weights_sha256": "00",
        "weights_from": "random, seed 0",
        "preprocessing": make_steps(spec),
        "labels": tuple("abcde"[:classes]) if classes else (),
        "versions": {"torch": "2.13.0"},
        "settings": BuildSettings(
            {"opset": 20, "head": "softmax" if classes else "logits", "level": 3}
        ),
        "graph": GraphInfo(nodes_captured=30, nodes_simplified=20, changes={"merge_chains": 2}),
        "fp16_range": Fp16Range(largest=12.5, limit=16376.0, worst="x", kept=0),
        "calibration": CalibrationInfo(images=7, sha256="ab"),
        "tolerance": Tolerance(floors=8, reason="as eager"),
        "reference": reference(np.ones((3, *spec.signature.answer_shape))),
    }
    return Manifest(**(values | changes))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_comes_back(changes):
    written = manifest(spec=tiny_spec(**changes))
    read = Manifest.from_json(written.to_json(), "here")
    assert read.to_json() == written.to_json()
    records = ("signature", "spec", "batch", "preprocessing", "settings", "graph", "fp16_range")
    for name in (*records, "calibration", "tolerance"):
        assert getattr(read, name) == getattr(written, name), name


def test_a_model_without_a_spec_comes_back():
    written = manifest()
    read = Manifest.from_json(changed(spec=None), "here")
    assert read.spec is None
    assert read.signature == written.signature
    assert read.interface == written.interface
    with pytest.raises(RequestError, match="tiny is no Vision Transformer"):
        read.require_spec()


@given(arrays(np.float32, (3, 4), elements=st.floats(width=32)))
def test_answers_come_back_bit_for_bit(answers):
    text = json.dumps(reference(answers).to_mapping())
    read = Reference.from_mapping(json.loads(text), "here").answers
    assert read.tobytes() == answers.tobytes()


def test_samples_made_from_the_users_files_are_left_out():
    kept = reference([[1], [2], [3]]).without_user_images()
    assert (kept.recipes, kept.digests) == (("normal:1", "constant:0.5"), ("a" * 64, "c" * 64))
    assert kept.answers.tolist() == [[1], [3]]
    assert kept.floors == (1e-6, 3e-6)


@pytest.mark.parametrize("name", ["fp32.onnx", "int8.onnx", "fp32.pt"])
def test_files_of_layout_1_are_proven_again(name):
    path = LAYOUT_1 / name
    old = json.loads(open_artifact(path).manifest_json())
    assert old["layout"] == 1
    read = read_manifest(open_artifact(path), path)
    assert read.layout == LAYOUT
    assert (read.precision, list(read.labels)) == (old["precision"], old["labels"])
    assert read.settings.values == old["settings"]
    assert read.signature.image_shape == (3, 16, 16)
    assert vit_export.validate(path).status == "PROVEN"


@pytest.mark.parametrize("name", ["fp32.onnx", "int8.onnx", "fp32.pt"])
def test_every_key_of_layout_1_keeps_its_name_and_value(name):
    old = json.loads(open_artifact(LAYOUT_1 / name).manifest_json())
    new = json.loads(Manifest.from_json(json.dumps(old), name).to_json())
    assert new["tolerance"].pop("signal")
    assert {key: new[key] for key in old} == old | {"layout": LAYOUT}
    added = {"signature", "preset", "assumed", "reading", "problem_type"}
    assert new.keys() - old.keys() == added


def changed(**values):
    return json.dumps(json.loads(manifest().to_json()) | values)


def changed_inside(key, **values):
    return changed(**{key: json.loads(manifest().to_json())[key] | values})


BAD = {
    "no JSON": ("{", "can't be read"),
    "a list": ("[]", "no object"),
    "nothing": ("{}", "layout"),
    "a newer layout": (changed(layout=99), "newer vit-export (layout 99)"),
    "layout 0": (changed(layout=0), "layout is 0"),
    "layout as text": (changed(layout="1"), "layout is '1', not a whole number"),
    "another batch": (changed(batch="0"), "batch '0'"),
    "a batch that is a number": (changed(batch=3), "batch is 3, not text"),
    "another spec": (changed(spec={"heads": 5}), "spec"),
    "a key that is unknown": (changed(colour="red"), "unknown key 'colour'"),
    "no target": (changed(target=None), "target is None, not text"),
    "another precision": (changed(precision="fp23"), "precision is 'fp23'"),
    "labels that are numbers": (changed(labels=[1, 2]), "labels[0] is 1, not text"),
    "labels that are text": (changed(labels="ab"), "labels is 'ab', not a list"),
    "versions that are a list": (changed(versions=["torch"]), "versions"),
    "a version that is a number": (changed(versions={"torch": 2}), "versions.torch is 2, not text"),
    "settings of another type": (changed(settings={"opset": "x"}), "settings.opset is 'x'"),
    "another head": (changed(settings={"head": "best"}), "settings.head is 'best'"),
    "a count below 0": (changed(graph={"merge_chains": -1}), "graph.merge_chains is -1"),
    "a range that is infinite": (changed_inside("reach", largest=1e999), "reach.largest is inf"),
    "images that are no count": (changed_inside("calibration", images=1.5), "calibration.images"),
    "no tolerance": (changed(tolerance={}), "tolerance.reason is missing"),
    "a tolerance of NaN": (
        changed_inside("tolerance", relative=float("nan")),
        "tolerance.relative",
    ),
    "a tolerance below 0": (changed_inside("tolerance", floors=-1), "tolerance: floors is -1"),
    "a tolerance with more": (changed_inside("tolerance", bonus=1), "tolerance.bonus is unknown"),
    "answers cut off": (changed_inside("reference", answers="AAAA"), "reference.answers holds 3 b"),
    "answers that are no base64": (changed_inside("reference", answers="é"), "reference.answers"),
    "answers of another shape": (changed_inside("reference", shape=[5, 5]), "reference.answers"),
    "a shape below 0": (changed_inside("reference", shape=[-3, -5]), "reference.answers"),
    "too few digests": (changed_inside("reference", digests=["a"]), "reference.digests has 1"),
    "a digest that is no hash": (
        changed_inside("reference", digests=["a"] * 3),
        "digests[0] is no",
    ),
    "too few labels": (changed(labels=["a"]), "labels has 1 names for 5 classes"),
    "settings that are a list": (changed(settings=[]), "settings is [], not an object"),
    "another signature than the spec's": (
        changed_inside("spec", channels=1),
        "spec and signature describe different models",
    ),
    "an MLP of no width": (changed_inside("spec", mlp_ratio=1e308), "mlp_ratio is 1e+308"),
    "steps for other images": (
        changed_inside("preprocessing", crop=[20, 20], resize=20),
        "preprocessing makes other images",
    ),
    "a resize out of proportion": (changed_inside("preprocessing", resize=10**6), "preprocessing"),
    "a batch beyond all memory": (changed(batch="1:1:999999"), "batch 1:1:999999"),
    "answers for other classes": (
        changed(reference=reference(np.ones((3, 4))).to_mapping()),
        "reference.answers has shape (3, 4)",
    ),
    "engine_run without engine": (changed(engine={}, engine_run=True), "engine_run is set"),
    "too deep": ("[" * 200000, "can't be read"),
    "a floor below 0": (changed_inside("reference", floors=[1, -1, 1]), "reference.floors"),
    "a floor of NaN": (
        changed_inside("reference", floors=[1, float("nan"), 1]),
        "floors[1] is nan",
    ),
    "a signature without inputs": (changed_inside("signature", inputs=[]), "signature"),
    "an input of text": (changed_inside("signature", inputs=["x"]), "signature.inputs[0] is 'x'"),
    "engine_run as text": (
        changed(engine={"kind": "rtx"}, engine_run="yes"),
        "engine_run is 'yes'",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_broken_field_is_refused_by_its_name(text, message):
    with pytest.raises(RequestError) as refusal:
        Manifest.from_json(text, "file.onnx")
    assert message in refusal.value.message
    assert "file.onnx" in refusal.value.message
    assert refusal.value.fix


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(json.loads(manifest().to_json()))), value=ANYTHING)
def test_any_value_in_any_field_is_read_or_refused_in_a_sentence(key, value):
    with contextlib.suppress(RequestError):  # and nothing else
        Manifest.from_json(changed(**{key: value}), "file.onnx")
