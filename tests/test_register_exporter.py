"""The export format `onnx-proven` of transformers' exporters."""

import foreign_exports as foreign
import pytest
import torch
import transformers
from transformers.exporters import AutoHfExporter, ExportedModel, OnnxExporter
from transformers.exporters.auto import EXPORT_BACKENDS

import vit_export
from vit_export.core.errors import RequestError
from vit_export.validation.verdict import RejectedError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
"""torch and transformers warn of their own classes."""


@pytest.fixture
def exporter():
    """The registered format, which is gone afterwards."""
    name = vit_export.register_exporter()
    yield AutoHfExporter.from_config({"export_format": name})
    del EXPORT_BACKENDS[name]


@torch.no_grad()
def test_a_proven_file_is_saved_and_runs(tmp_path, exporter):
    model = foreign.make_model()
    exported = exporter.export(model, {"pixel_values": foreign.EXAMPLE}, {"dynamic": True})
    exported.save_pretrained(tmp_path)
    images = torch.randn(3, 3, 32, 32)
    answers = ExportedModel.from_pretrained(tmp_path)(pixel_values=images)
    torch.testing.assert_close(answers.logits, model(images).logits, rtol=1e-4, atol=1e-5)
    assert vit_export.validate(tmp_path / "model.onnx", model=model).status == "PROVEN"


@pytest.mark.parametrize("forgery", ["halve", "change_one_weight"])
def test_a_file_that_is_not_the_model_is_refused(exporter, monkeypatch, forgery):
    export_program = OnnxExporter.export_program

    def export_another(self, model, inputs, config):
        return export_program(self, foreign.forge(forgery, model), inputs, config)

    monkeypatch.setattr(OnnxExporter, "export_program", export_another)
    with pytest.raises(RejectedError, match="it computes what"):
        exporter.export(foreign.make_model(), {"pixel_values": foreign.EXAMPLE}, {"dynamic": True})


def test_a_model_of_no_known_family_is_its_own_reference(exporter):
    torch.manual_seed(0)
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    model = transformers.SwinForImageClassification(config).eval()
    free = {"pixel_values": {0: torch.export.Dim("n", min=1)}}  # all sides would take minutes
    config = {"dynamic_shapes": free}
    exported = exporter.export(model, {"pixel_values": foreign.EXAMPLE}, config)
    assert [one.name for one in exported.program.graph.outputs] == ["logits"]


def test_models_of_more_than_images_are_refused(exporter):
    config = transformers.CLIPTextConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    model = transformers.CLIPTextModel(config).eval()
    inputs = {"input_ids": torch.ones(1, 4, dtype=torch.int64)}
    with pytest.raises(RequestError, match="input_ids"):
        exporter.export(model, inputs, {"dynamic": False})
