"""Files that other tools write of one model, and what a careless or dishonest one would write."""

import copy
import warnings

import torch
import transformers
from fake_torchvision import fake_torchvision
from torch import nn
from transformers.exporters import OnnxConfig, OnnxExporter

with fake_torchvision():
    from timm.utils.onnx import onnx_export

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 5}
SIZES |= {"image_size": 32, "patch_size": 8, "intermediate_size": 48}
EXAMPLE = torch.zeros(2, 3, 32, 32)


def make_model() -> nn.Module:
    """A small ViT of transformers, none of whose weights is zero."""
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES)).eval()
    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.1 * torch.randn_like(one))
    return model


class Logits(nn.Module):
    """A model of transformers that answers the tensor itself."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.default_cfg = {"input_size": (3, 32, 32)}

    def forward(self, pixel_values):
        return self.model(pixel_values).logits


def export_plainly(module, path):
    """By torch's exporter, with a free batch."""
    shapes = ({0: torch.export.Dim("n", min=1)},)
    options = {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own classes
        torch.onnx.export(module, (EXAMPLE,), path, dynamo=True, **options)


def export_dynamo(model, path):
    export_plainly(Logits(model), path)


def export_script(model, path):
    names = {"input_names": ["images"], "output_names": ["scores"]}
    axes = {"images": {0: "n"}, "scores": {0: "n"}}
    torch.onnx.export(Logits(model), (EXAMPLE,), path, dynamo=False, dynamic_axes=axes, **names)


def export_one_image(model, path):
    torch.onnx.export(Logits(model), (EXAMPLE[:1],), path, dynamo=False)


def export_transformers(model, path):
    exported = OnnxExporter().export(model, {"pixel_values": EXAMPLE}, OnnxConfig(dynamic=True))
    exported.save_pretrained(path.parent / "exported")
    for file in (path.parent / "exported").glob("model.onnx*"):
        file.rename(path.parent / file.name)
    (path.parent / "model.onnx").rename(path)


def export_timm(model, path):
    onnx_export(Logits(model), str(path), batch_size=2, check=False)


EXPORTERS = {
    "dynamo": export_dynamo,
    "script": export_script,
    "one image": export_one_image,
    "transformers": export_transformers,
    "timm": export_timm,
}


def export(exporter: str, model, path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        EXPORTERS[exporter](model, path)


def zero_head(model):
    model.classifier.weight *= 0


def ignore_image(model):
    model.vit.embeddings.patch_embeddings.projection.weight *= 0


def halve(model):
    model.classifier.weight *= 0.5


def exchange_classes(model):
    order = [1, 0, 2, 3, 4]
    model.classifier.weight[:] = model.classifier.weight[order]
    model.classifier.bias[:] = model.classifier.bias[order]


def change_mlp(model):
    layers = model.vit.layers if hasattr(model.vit, "layers") else model.vit.encoder.layer
    next(iter(layers[1].mlp.parameters())).mul_(1.5)


def change_one_weight(model):
    model.classifier.weight[0, 0] += 0.05


def forget_positions(model):
    model.vit.embeddings.position_embeddings *= 0


def shift_classifier(model):
    model.classifier.bias += 0.01


FORGERIES = {
    one.__name__: one
    for one in (
        *(zero_head, ignore_image, halve, exchange_classes, change_mlp, change_one_weight),
        *(forget_positions, shift_classifier),
    )
}


def forge(name: str, model) -> nn.Module:
    """A copy of `model` that answers something else."""
    forged = copy.deepcopy(model)
    with torch.no_grad():
        FORGERIES[name](forged)
    return forged
