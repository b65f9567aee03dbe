"""What a C++ program answers: classes, the numbers of a regression, or named outputs."""

from typing import Any

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import OUTPUT_NAMES, TOP
from vit_export.artifact.scores import MAX_LOGIT, MIN_LOG, ROUNDING
from vit_export.codegen.quoting import ManifestText, quote_cpp

TOP_CLASSES = "std::pair<std::vector<float>, std::vector<std::int64_t>>"
"""C++ type of the outputs of a file that answers the best classes: scores and indices."""
CLASSIFY = "top = model.classify(image, 5);"
COMPARED = {
    "softmax": "a log-probability",
    "sigmoid": "a logit, recovered from its probability",
    "none": "a number",
}
"""What the tests of a project compare, by score function."""


def answers_classes(manifest: Manifest) -> bool:
    """Return whether a program answers classes or their numbers, and no named outputs."""
    return manifest.signature.classifies and not manifest.signature.is_joined


def make_output_values(manifest: Manifest) -> dict[str, Any]:
    """Return the values of what the program answers: classes, numbers, or named outputs."""
    specific = _make_class_values if answers_classes(manifest) else _make_tensor_values
    return {
        "head": manifest.head,
        "rms": not manifest.tolerance.limits_largest_error,
        "least_log": MIN_LOG,
        "most_logit": MAX_LOGIT,
        "rounding": ROUNDING,
        **specific(manifest),
    }


def _make_class_values(manifest: Manifest) -> dict[str, Any]:
    top5, classes = manifest.head == "top5", manifest.signature.classes or 0
    function = manifest.score_function
    regression = function == "none"
    outputs = OUTPUT_NAMES.get(manifest.head, ("logits",))
    return {
        "answers": "classes",
        "function": function,
        "regression": regression,
        "ranks": not regression,
        "program": "classify",
        "call": "predict" if regression else "classify",
        "example": "values = model.predict(image); " if regression else CLASSIFY,
        "usage": "" if regression else " [--top N]",
        "result": "Value" if regression else "Class",
        "returned": "scores and classes" if top5 else "scores",
        "compared": COMPARED[function],
        "classes": classes,
        "best": min(TOP, classes),
        "scores_per_image": "kBest" if top5 else "kClasses",
        "outputs": "[scores, classes]" if top5 else "scores",
        "output_type": TOP_CLASSES if top5 else "std::vector<float>",
        "quoted_output_names": ", ".join(f'"{name}"' for name in outputs),
    }


def _make_tensor_values(manifest: Manifest) -> dict[str, Any]:
    names = [ManifestText(one.name) for one in manifest.signature.outputs]
    sides = [", ".join(map(str, one.sample_shape)) for one in manifest.signature.outputs]
    return {
        "answers": "outputs",
        "function": "none",
        "regression": False,
        "ranks": False,
        "program": "run",
        "call": "run",
        "example": "outputs = model.run(image);",
        "usage": "",
        "returned": "outputs",
        "compared": "each output",
        "classes": 0,
        "named_outputs": list(zip(names, sides, strict=True)),
        "output_type": "std::vector<std::vector<float>>",
        "quoted_output_names": ", ".join(map(quote_cpp, names)),
    }
