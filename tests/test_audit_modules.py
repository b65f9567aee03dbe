"""What a user's own module has is counted in its program, and compared with its graph."""

import own_modules
import pytest
import seed_vit
from support import run, run_json
from torch import nn

from vit_export.model.fusions import ExpectedFusions
from vit_export.model.program.export import export_program
from vit_export.model.program.fusions import count_fusions

SIZES = {"depth": 2, "emb_size": 24, "num_heads": 3, "img_size": 32, "patch_size": 8}
VIT = {**SIZES, "n_classes": 5}


class Scores(nn.Module):
    """A softmax over classes is no attention."""

    def forward(self, images):
        return images.flatten(2).mean(2).softmax(1)


MODULES = {
    "attention of einsum": (seed_vit.ViT(**VIT), (3, 32, 32), (2, 5, 2, "gelu")),
    "attention of torch": (own_modules.Video(), (3, 4, 16, 16), (1, 0, 0, "gelu")),
    "two kinds of gelu": (nn.Sequential(nn.GELU("tanh"), nn.GELU()), (4,), (0, 0, 2, "gelu")),
    "tanh alone": (nn.GELU("tanh"), (4,), (0, 0, 1, "gelu_tanh")),
    "scores": (Scores(), (3, 8, 8), (0, 0, 0, "gelu")),
}


@pytest.mark.parametrize(("module", "shape", "counts"), MODULES.values(), ids=MODULES)
def test_what_a_program_has_is_counted(module, shape, counts):
    names = ("attentions", "layer_norms", "activations", "activation")
    expected = ExpectedFusions(**dict(zip(names, counts, strict=True)))
    assert count_fusions(export_program(module.eval(), shape, None, "module")) == expected


@pytest.mark.slow
def test_inspect_shows_what_the_graph_kept(tmp_path):
    path, words = tmp_path / "n.onnx", [f"--set={name}={value}" for name, value in VIT.items()]
    own = ("--module", f"{seed_vit.__file__}:ViT", *words, "--image-size", 32)
    run("onnx", *own, "--out", path, "-q")
    fusions = {one["name"]: one for one in run_json("inspect", path)["audit"]["fusions"]}
    counts = {name: (one["found"], one["expected"]) for name, one in fusions.items()}
    assert counts == {"attention": (2, 2), "LayerNorm": (5, 5), "activation (Gelu)": (2, 2)}
    text = run("inspect", path).stdout
    assert "attention 2/2" in text
    assert "graph: fold_batch_norms" not in text


@pytest.mark.slow
def test_a_kind_that_the_module_lacks_has_no_line(tmp_path):
    path, own = tmp_path / "n.onnx", ("--module", f"{own_modules.__file__}:Net")
    run("onnx", *own, "--image-size", 32, "--out", path, "-q")
    text = run("inspect", path).stdout
    assert "LayerNorm 1/1" in text
    assert "attention" not in text
