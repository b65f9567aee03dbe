"""Twelve checkpoints, one a family, answer as the library that saved them.

They were chosen before the readers that they test were written, and nothing was fitted to them.
Each has sizes, activations or parts that its family's defaults do not have.
"""

from dataclasses import dataclass
from typing import Any

import onnxruntime
import pytest
import torch
import transformers
from test_families import randomize
from timm_models import create_model, save_for_hf

import vit_export

ONE_THREAD = onnxruntime.SessionOptions()
ONE_THREAD.intra_op_num_threads = 1
TEXT = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 60}
TEXT |= {"intermediate_size": 40, "bos_token_id": None, "eos_token_id": None}


def sizes(width, depth, heads, image, patch, **rest):
    """The sizes of a configuration of `transformers`."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
    values = (width, depth, heads, image, patch)
    return dict(zip(names, values, strict=True)) | rest


@dataclass
class Case:
    """A model of a library, and the field of its answer that is exported."""

    library: str
    model: Any
    """The class in `transformers`, or the architecture in timm."""
    config: Any
    """The configuration, or the arguments of timm's `create_model`."""
    answer: str = ""
    image: tuple[int, int, int] = (3, 32, 32)


def hugging_face(model, config, answer, image=(3, 32, 32)):
    return Case("transformers", model, config, answer, image)


CASES = {
    "ViT": hugging_face(
        transformers.ViTForImageClassification,
        transformers.ViTConfig(
            **sizes(60, 3, 5, [24, 40], 8, intermediate_size=84, hidden_act="gelu_new"),
            layer_norm_eps=3e-4,
            num_channels=1,
            num_labels=11,
        ),
        "logits",
        (1, 24, 40),
    ),
    "DeiT": hugging_face(
        transformers.DeiTForImageClassification,
        transformers.DeiTConfig(
            **sizes(42, 2, 7, 36, 12, intermediate_size=90, qkv_bias=False),
            num_labels=4,
            problem_type="multi_label_classification",
        ),
        "logits",
        (3, 36, 36),
    ),
    "DeiT with teacher": hugging_face(
        transformers.DeiTForImageClassificationWithTeacher,
        transformers.DeiTConfig(
            **sizes(32, 4, 2, 32, 16, intermediate_size=50, hidden_act="quick_gelu"), num_labels=3
        ),
        "logits",
    ),
    "DINOv2": hugging_face(
        transformers.Dinov2Model,
        transformers.Dinov2Config(
            **sizes(48, 3, 4, 42, 14, mlp_ratio=2, layer_norm_eps=2e-5), use_swiglu_ffn=True
        ),
        "pooler_output",
        (3, 42, 42),
    ),
    "DINOv2 with registers": hugging_face(
        transformers.Dinov2WithRegistersForImageClassification,
        transformers.Dinov2WithRegistersConfig(
            **sizes(40, 2, 5, 28, 14, mlp_ratio=3, layerscale_value=0.3),
            num_register_tokens=6,
            num_labels=9,
        ),
        "logits",
        (3, 28, 28),
    ),
    "CLIP": hugging_face(
        transformers.CLIPVisionModelWithProjection,
        transformers.CLIPVisionConfig(
            **sizes(36, 3, 6, 30, 10, intermediate_size=70, hidden_act="gelu", projection_dim=13)
        ),
        "image_embeds",
        (3, 30, 30),
    ),
    "SigLIP": hugging_face(
        transformers.SiglipVisionModel,
        transformers.SiglipVisionConfig(
            **sizes(44, 2, 4, 27, 9, intermediate_size=66, layer_norm_eps=1e-5)
        ),
        "pooler_output",
        (3, 27, 27),
    ),
    "SigLIP that classifies": hugging_face(
        transformers.SiglipForImageClassification,
        transformers.SiglipConfig(
            vision_config=sizes(52, 2, 2, 31, 8, intermediate_size=64),  # a rim of 7 pixels
            text_config=TEXT,
            num_labels=6,
        ),
        "logits",
        (3, 31, 31),
    ),
    "timm ViT": Case(
        "timm",
        "vit_small_patch16_224",
        {"img_size": 48, "depth": 2, "num_classes": 7, "global_pool": "avg", "num_heads": 8},
        image=(3, 48, 48),
    ),
    "timm CLIP": Case(
        "timm",
        "vit_base_patch32_clip_quickgelu_224",
        {"img_size": 64, "depth": 2, "num_classes": 5},
        image=(3, 64, 64),
    ),
    "timm SigLIP": Case(
        "timm",
        "vit_base_patch16_siglip_224",
        {"img_size": 32, "depth": 2, "num_classes": 0},
    ),
    "timm DeiT": Case(
        "timm",
        "deit_tiny_distilled_patch16_224",
        {"img_size": 32, "depth": 3, "num_classes": 0},
    ),
}


def save(case, folder):
    """Save a random model of the case as its library does, and return it."""
    if case.library == "transformers":
        model = randomize(case.model(case.config))
        model.save_pretrained(folder)
        return model
    model = randomize(create_model(case.model, **case.config))
    save_for_hf(model, folder, model_args=case.config, safe_serialization=True)
    return model


@pytest.mark.slow  # twelve exports
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_checkpoints_that_were_set_aside_answer_as_their_library(tmp_path, case):
    model = save(case, tmp_path / "checkpoint")
    images = torch.randn(3, *case.image, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        answer = model(images)
    expected = (answer[case.answer] if case.answer else answer).numpy()

    result = vit_export.onnx(
        None, tmp_path / "x.onnx", weights=tmp_path / "checkpoint", check="require"
    )
    assert result.verdict.status == "PROVEN"
    assert case.library in result.verdict.reading
    session = onnxruntime.InferenceSession(
        tmp_path / "x.onnx", ONE_THREAD, providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert got.shape == expected.shape
    scale = abs(expected).max()
    assert abs(got - expected).max() < 1e-4 * scale
