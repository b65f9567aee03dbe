"""Forged ONNX files: weights edited after the export, and the same change in eager PyTorch.

`Forger.measure_excess` says how far PyTorch with the same change is from the model. It shares no
code with the comparison of the proof.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file, save_file
from support import ROOT

import vit_export
from vit_export.backends.onnx.backend import ONNX
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints.load import load
from vit_export.validation.claims import choose_tolerance
from vit_export.validation.expectation import Expectation
from vit_export.validation.sample_set import remake_sample_set
from vit_export.validation.tolerances import TOLERANCES
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import Verdict

FASHION = ROOT / "models" / "fashion_mnist"
MANY_CLASSES = """
[vit]
image_size = 16
patch_size = 8
width = 64
depth = 2
heads = 4
classes = 1000
[preprocessing]
resize = 16
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""
"""The logarithms of 1000 probabilities lie near -6.9, whatever the image is."""
INT4 = {"precision": "weights-int4", "opset": 21}
STATIC = {"precision": "int8-static", "calibration": FASHION / "images"}
SIGMOID = {"head": "sigmoid", "problem_type": "multi_label"}
GRAPHS = {  # `offset` is a classifier as a sigmoid trains it: every logit lies near -26
    "fashion fp32": ("fashion", {}),
    "fashion fp16": ("fashion", {"precision": "fp16"}),
    "fashion int8": ("fashion", {"precision": "int8"}),
    "fashion int8 per token": ("fashion", {"precision": "int8", "scales": "token"}),
    "fashion int8-static": ("fashion", STATIC),
    "fashion weights-int8": ("fashion", {"precision": "weights-int8"}),
    "fashion weights-int4": ("fashion", INT4),
    "fashion int8 softmax": ("fashion", {"precision": "int8", "head": "softmax"}),
    "fashion int8 top5": ("fashion", {"precision": "int8", "head": "top5"}),
    "offset fp32": ("offset", {}),
    "offset int8": ("offset", {"precision": "int8"}),
    "offset weights-int4": ("offset", INT4),
    "fashion fp32 sigmoid": ("fashion", SIGMOID),
    "fashion fp16 sigmoid": ("fashion", SIGMOID | {"precision": "fp16"}),
    "offset int8 sigmoid": ("offset", SIGMOID | {"precision": "int8"}),
    "1000 fp32 softmax": ("1000", {"head": "softmax"}),
    "1000 fp16 top5": ("1000", {"precision": "fp16", "head": "top5"}),
    "1000 int8": ("1000", {"precision": "int8"}),
    "1000 int8 softmax": ("1000", {"precision": "int8", "head": "softmax"}),
    "1000 int8 top5": ("1000", {"precision": "int8", "head": "top5"}),
    "1000 weights-int8 softmax": ("1000", {"precision": "weights-int8", "head": "softmax"}),
    "1000 weights-int4 softmax": ("1000", INT4 | {"head": "softmax"}),
    "1000 weights-int4 top5": ("1000", INT4 | {"head": "top5"}),
}
VISIBLE = 8
"""Logits up to this one show in a probability of fp32 to a thousandth; errors of larger ones don't
count here, though a proof sees those up to 16."""
PATCHES = "embedding.projection.weight"
POSITIONS = "embedding.positions"
CLASSIFIER = ("head.classifier.weight", "head.classifier.bias")


@dataclass(frozen=True)
class Forgery:
    """A change of weights."""

    kind: str
    """A key of `EDITS`, or `shifted`, which gives each image its neighbour's answer."""
    size: float
    """How large the change is, 0 to 1; some kinds have one size."""
    place: int
    """Which number, channel or class it hits."""


def scale(weights, forgery):
    for name in weights.keys() & {*CLASSIFIER}:
        weights[name] *= 1 + forgery.size


def shrink_image_part(weights, forgery):
    """The part that depends on the image gets smaller; the mean answer of a zero vector stays."""
    weights[CLASSIFIER[0]] *= 1 - forgery.size


def zero_head(weights, _):
    for name in CLASSIFIER:
        weights[name] *= 0


def ignore_image(weights, _):
    weights[PATCHES] *= 0


def exchange_classes(weights, forgery):
    for name in CLASSIFIER:
        order = np.arange(len(weights[name]))
        first = forgery.place % len(order)
        order[[first, first - 1]] = order[[first - 1, first]]
        weights[name][:] = weights[name][order]


def add_offset(weights, forgery):
    weights[CLASSIFIER[1]] += forgery.size


def change_one_weight(weights, forgery):
    name = (CLASSIFIER[0], PATCHES, POSITIONS)[forgery.place % 3]
    flat = weights[name].reshape(-1)
    flat[forgery.place * 7919 % flat.size] += forgery.size * np.abs(flat).max()


EDITS = {
    "scaled": scale,
    "shrunk": shrink_image_part,
    "zeroed head": zero_head,
    "ignored image": ignore_image,
    "exchanged classes": exchange_classes,
    "offset": add_offset,
    "one weight": change_one_weight,
}
KINDS = (*EDITS, "shifted")


class Forger:
    """An honest file, and the means to forge it and to say how wrong a forgery is."""

    def __init__(self, path: Path, model: object, **options: object) -> None:
        self.path = path
        self.graph = onnx.load(path)
        self.manifest = read_manifest(open_artifact(path), path)
        self.samples = remake_sample_set(self.manifest)
        self.eager = load(model, **options).module
        self.reference = self.manifest.reference

    def forge(self, forgery: Forgery) -> Path:
        """Write the forged file, with the honest manifest."""
        model = onnx.ModelProto()
        model.CopyFrom(self.graph)
        if forgery.kind == "shifted":
            _shift_answers(model.graph)
        else:
            _edit_graph(model.graph, forgery)
        forged = self.path.with_name("forged.onnx")
        onnx.save(model, forged)
        return forged

    def validate(self, path: Path) -> Verdict:
        """The verdict on a file against the answers in its manifest."""
        tolerance = choose_tolerance(self.manifest, ONNX.find_precisions(path))
        expectation = Expectation.from_manifest(self.manifest, self.reference, tolerance)
        session = open_artifact(path, 1)
        return validate_artifact(
            session, path, self.manifest, expectation, self.samples.file_inputs
        )

    def measure_excess(self, forgery: Forgery) -> float:
        """How many times the tolerance PyTorch with the same change is off, on the worst sample."""
        answers = self._answer_changed(forgery).astype(np.float64)
        exact = self.reference.answers.astype(np.float64)
        errors = answers - exact
        signal = exact
        if self.manifest.head == "sigmoid":
            signal = exact.clip(-80, VISIBLE)
            errors = np.where(exact < VISIBLE, answers.clip(-80, VISIBLE) - exact, 0)
        elif self.manifest.head != "logits":
            answers, exact = _log_probabilities(answers), _log_probabilities(exact)
            errors, signal = answers - exact, exact - exact.mean(axis=-1, keepdims=True)
        size = np.sqrt(np.square(signal - signal.mean(axis=0)).mean())
        if self.manifest.head == "top5":
            best = np.argsort(-answers)[:, :5]
            of_best = np.take_along_axis(errors, best, axis=1)
            of_sorted = (np.sort(answers) - np.sort(exact))[:, -5:]
            errors = np.concatenate([of_best, of_sorted], axis=1)
        rms = np.sqrt(np.square(errors.reshape(len(errors), -1)).mean(axis=1))
        row = TOLERANCES[self.manifest.precision]
        excess = float((rms / (size * 10 ** (-row.least_snr_db / 20))).max())
        if self.manifest.precision == "fp32":
            largest = np.abs(exact.reshape(len(exact), -1)).max(axis=1)
            allowed = 8 * np.array(self.reference.floors) + 1e-6 * largest
            worst = np.abs(errors.reshape(len(errors), -1)).max(axis=1)
            excess = max(excess, float((worst / allowed).max()))
        return excess

    def _answer_changed(self, forgery: Forgery) -> np.ndarray:
        if forgery.kind == "shifted":
            return np.roll(self.reference.answers, 1, axis=0)
        changed = copy.deepcopy(self.eager)
        weights = {name: tensor.numpy() for name, tensor in changed.state_dict().items()}
        EDITS[forgery.kind](weights, forgery)
        with torch.inference_mode():
            return changed(torch.from_numpy(self.samples.inputs)).numpy()


def make_forger(name: str, folder: Path) -> Forger:
    """Export one of `GRAPHS`, which has to be proven without a caveat."""
    model, options = GRAPHS[name]
    path, source = folder / "honest.onnx", {}
    if model == "1000":
        preset = folder / "many.toml"
        preset.write_text(MANY_CLASSES)
    else:
        preset = "fashion_mnist"
    if model == "offset":
        weights = load_file(FASHION / "fashion_mnist.safetensors")
        weights["head.classifier.bias"] -= 26
        source["weights"] = folder / "offset.safetensors"
        save_file(weights, source["weights"])
    built = vit_export.onnx(str(preset), path, **source, **options)
    assert (built.verdict.status, built.verdict.caveats) == ("PROVEN", ())
    return Forger(path, str(preset), **source)


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    return torch.log_softmax(torch.from_numpy(logits), -1).clamp(min=-80).numpy()


def _edit_graph(graph: onnx.GraphProto, forgery: Forgery) -> None:
    """Apply the edit to the initializers, which have the names of the eager model's weights."""
    stored = {one.name.removesuffix("/half"): one for one in graph.initializer}
    names = stored.keys() & {*CLASSIFIER, PATCHES, POSITIONS}
    weights = {
        name: numpy_helper.to_array(stored[name]).astype(np.float32, copy=True) for name in names
    }
    EDITS[forgery.kind](weights, forgery)
    for name, array in weights.items():
        dtype = helper.tensor_dtype_to_np_dtype(stored[name].data_type)
        stored[name].CopyFrom(numpy_helper.from_array(array.astype(dtype), stored[name].name))


def _shift_answers(graph: onnx.GraphProto) -> None:
    """Each image of a batch gets its neighbour's answer."""
    for name, values in (("one", [1]), ("zero", [0]), ("end", [2**31])):
        graph.initializer.append(
            numpy_helper.from_array(np.array(values, np.int64), f"shift_{name}")
        )
    for output in graph.output:
        inner = f"{output.name}_unshifted"
        for node in graph.node:
            for i, value in enumerate(node.output):
                if value == output.name:
                    node.output[i] = inner
            for i, value in enumerate(node.input):
                if value == output.name:
                    node.input[i] = inner
        rest = ["shift_one", "shift_end", "shift_zero"]
        graph.node.append(helper.make_node("Slice", [inner, *rest], [f"{inner}_rest"]))
        first = ["shift_zero", "shift_one", "shift_zero"]
        graph.node.append(helper.make_node("Slice", [inner, *first], [f"{inner}_first"]))
        parts = [f"{inner}_rest", f"{inner}_first"]
        graph.node.append(helper.make_node("Concat", parts, [output.name], axis=0))
