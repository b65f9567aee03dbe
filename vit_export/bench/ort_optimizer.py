"""ONNX Runtime's own optimizer of transformers: fusions in Python, besides those of a session."""

from pathlib import Path

from vit_export.bench.silence import silence

MODEL_TYPE = "vit"
DETECT = 0
"""Lets the optimizer read the number of heads and the width off the graph, where it can."""


def optimize_transformer(source: Path, path: Path) -> None:
    """Write the file `source` as the optimizer leaves it: it fuses what it recognizes."""
    with silence():
        from onnxruntime.transformers.optimizer import optimize_model

        model = optimize_model(
            str(source), model_type=MODEL_TYPE, num_heads=DETECT, hidden_size=DETECT, opt_level=0
        )
        model.save_model_to_file(str(path))
