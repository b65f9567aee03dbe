"""A manifest comes back as it was written, and a broken one is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support import VARIANTS, tiny_spec

from vit_export import RequestError
from vit_export.artifact.batch import Batch
from vit_export.artifact.manifest import Manifest, Reference
from vit_export.model.vit.presets import load_preset

STEPS = load_preset("fashion_mnist").preprocessing


def reference(answers):
    return Reference(
        recipes=("normal:1", "image:cat.png", "constant:0.5"),
        digests=("a", "b", "c"),
        answers=np.asarray(answers, np.float32),
        floors=(1e-6, 2e-6, 3e-6),
    )


def manifest(**changes):
    values = {
        "target": "onnx",
        "model": "tiny",
        "spec": tiny_spec(),
        "overrides": {"classes": 5},
        "precision": "fp32",
        "batch": Batch.parse("1:8:16"),
        "weights_sha256": "00",
        "weights_from": "random, seed 0",
        "preprocessing": STEPS,
        "labels": ("a", "b"),
        "versions": {"torch": "2.13.0"},
        "settings": {"opset": 20},
        "tolerance": {"floors": 8},
        "reference": reference(np.ones((3, 5))),
    }
    return Manifest(**(values | changes))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_comes_back(changes):
    written = manifest(spec=tiny_spec(**changes))
    read = Manifest.from_json(written.to_json(), "here")
    assert read.to_json() == written.to_json()
    assert (read.spec, read.batch, read.preprocessing) == (
        written.spec,
        written.batch,
        written.preprocessing,
    )


@given(arrays(np.float32, (3, 4), elements=st.floats(width=32)))
def test_answers_come_back_bit_for_bit(answers):
    text = json.dumps(reference(answers).to_mapping())
    read = Reference.from_mapping(json.loads(text)).answers
    assert read.tobytes() == answers.tobytes()


def test_what_needs_the_users_files_is_left_out():
    kept = reference([[1], [2], [3]]).made_anywhere()
    assert (kept.recipes, kept.digests) == (("normal:1", "constant:0.5"), ("a", "c"))
    assert kept.answers.tolist() == [[1], [3]]
    assert kept.floors == (1e-6, 3e-6)


def changed(**values):
    return json.dumps(json.loads(manifest().to_json()) | values)


BAD = {
    "no JSON": "{",
    "a list": "[]",
    "nothing": "{}",
    "a newer layout": changed(layout=99),
    "another batch": changed(batch="0"),
    "another spec": changed(spec={"heads": 5}),
    "more fields": changed(colour="red"),
    "answers cut off": changed(reference=manifest().reference.to_mapping() | {"answers": "AAA"}),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_a_broken_manifest_is_refused(text):
    with pytest.raises(RequestError):
        Manifest.from_json(text, "file.onnx")
