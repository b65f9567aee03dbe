"""`--outputs`: a file answers tokens, patches, layers and attention, each of them proven."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import timm_models
import torch
import transformers
from support import FASHION, expect_error, mark_slow_except, run, run_json
from varied_modules import vary

import vit_export
from vit_export.core.errors import RequestError
from vit_export.model.output_names import parse_output_names

SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 16}
SIZES |= {"patch_size": 8, "intermediate_size": 48}
SIZE = {"depth": 3, "embed_dim": 24, "num_heads": 3, "img_size": 16, "patch_size": 8}
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
ALL = "logits,features,tokens,token,patches,layers:1,3,normed-layers:1,3,attentions:1,3"
FASHION_OUTPUTS = "token,patches,logits,layers:1,2"
NAMES = ("token", "patches", "logits", "layer_1", "layer_2")


def answer(path: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images.numpy()}), strict=True))


def assert_near(outputs, expected):
    assert [*outputs] == [*expected]
    for name, right in expected.items():
        np.testing.assert_allclose(outputs[name], right, rtol=1e-3, atol=3e-5, err_msg=name)


@torch.no_grad()
def ask_transformers(model):
    """What a DINOv2 of transformers answers, by the names of `ALL`."""
    body = model.dinov2_with_registers
    answers = body(IMAGES, output_hidden_states=True, output_attentions=True)
    tokens, states = answers.last_hidden_state, answers.hidden_states
    pooled = torch.cat([tokens[:, 0], tokens[:, 3:].mean(1)], 1)
    return {
        "logits": model(IMAGES).logits,
        "features": pooled,
        "tokens": tokens,
        "token": tokens[:, 0],
        "patches": tokens[:, 3:],
        "layer_1": states[1],
        "layer_3": states[3],
        "normed_layer_1": body.layernorm(states[1]),
        "normed_layer_3": body.layernorm(states[3]),
        "attention_1": answers.attentions[0],
        "attention_3": answers.attentions[2],
    }


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    """A folder of transformers, and what its model answers."""
    torch.manual_seed(0)
    config = transformers.Dinov2WithRegistersConfig(
        **SIZES, num_register_tokens=2, num_labels=5, attn_implementation="eager"
    )
    model = vary(transformers.Dinov2WithRegistersForImageClassification(config))
    folder = tmp_path_factory.mktemp("dinov2")
    model.save_pretrained(folder)
    return folder, ask_transformers(model)


FLAVOURS = ("portable", "onnxruntime", "openvino", "tensorrt")


@pytest.mark.parametrize("flavour", mark_slow_except(FLAVOURS, "portable"))
def test_every_output_is_that_of_transformers(tmp_path, dinov2, flavour):
    folder, expected = dinov2
    out = tmp_path / "d.onnx"
    words = ("--weights", folder, "--outputs", ALL, "--for", flavour, "--out", out, "-q")
    report = run_json("onnx", *words)
    compared = report["verdict"]["against_eager"]
    assert {one["output"] for one in compared} == {*expected}
    assert {one["top1"] for one in compared if one["output"] != "logits"} == {None}
    assert_near(answer(out, IMAGES), expected)
    again = run_json("validate", out, "--weights", folder, "-q")
    assert again["status"] == "PROVEN"
    assert "afresh" in again["reference"]


def test_openvino_answers_every_output(tmp_path, dinov2):
    folder, expected = dinov2
    out = tmp_path / "d.onnx"
    run("onnx", "--weights", folder, "--outputs", ALL, "--out", out, "-q")
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(out, "CPU", settings)
    answers = model(IMAGES.numpy())
    names = [next(name for name in expected if name in one.names) for one in model.outputs]
    values = [answers[one] for one in model.outputs]
    assert_near(dict(zip(names, values, strict=True)), expected)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_answers_a_tuple(tmp_path, dinov2):
    folder, expected = dinov2
    out = tmp_path / "d.pt"
    run("torchscript", "--weights", folder, "--outputs", ALL, "--out", out, "-q")
    answers = torch.jit.load(out)(IMAGES)
    assert_near(dict(zip(expected, answers, strict=True)), expected)
    assert "answer as those" in run("locate", out, "--weights", folder).stdout


@torch.no_grad()
@pytest.mark.parametrize("outputs", ["token,layers:1,2", "features,normed-layers:3", "token"])
def test_the_last_block_computes_only_what_outputs_need(tmp_path, outputs):
    module = vary(timm_models.create_model("vit_tiny_patch16_224", num_classes=4, **SIZE))
    out = tmp_path / "t.onnx"
    vit_export.onnx(module, out, outputs=outputs)
    tokens = module.forward_features(IMAGES)
    layers = module.forward_intermediates(
        IMAGES, norm=False, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    whole = [torch.cat([prefix, patches], 1) for patches, prefix in layers]
    expected = {"token": tokens[:, 0], "features": tokens[:, 0], "normed_layer_3": tokens}
    expected |= {f"layer_{number}": one for number, one in enumerate(whole, 1)}
    names = parse_output_names(outputs)
    assert_near(answer(out, IMAGES), {name: expected[name] for name in names})
    scopes = {node.name.rpartition("/")[0] for node in onnx.load(out).graph.node}
    is_cut = "normed_layer_3" not in names
    assert ("blocks.2.attention.query" in scopes) == is_cut


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [
        "deit_tiny_distilled_patch16_224",
        "vit_base_patch16_siglip_224",
        "vit_medium_patch16_gap_256",
    ],
)
def test_pools_of_all_kinds_have_features_beside_tokens(tmp_path, name):
    module = vary(timm_models.create_model(name, num_classes=4, **SIZE))
    out = tmp_path / "t.onnx"
    vit_export.onnx(module, out, outputs=["features", "tokens", "logits"])
    tokens = module.forward_features(IMAGES)
    features = module.forward_head(tokens, pre_logits=True)
    if isinstance(features, tuple):
        features = (features[0] + features[1]) / 2
    outputs = {"features": features, "tokens": tokens, "logits": module(IMAGES)}
    assert_near(answer(out, IMAGES), outputs)


PRECISIONS = ("fp16", "int8", "weights-int8", "auto")


@pytest.mark.parametrize("precision", mark_slow_except(PRECISIONS, "int8"))
def test_fewer_bits_keep_every_output(tmp_path, precision):
    out = tmp_path / "f.onnx"
    words = ("--model", "fashion_mnist", "--outputs", FASHION_OUTPUTS, "--precision", precision)
    report = run_json("onnx", *words, "--images", FASHION / "images", "--out", out, "-q")
    assert {one["output"] for one in report["verdict"]["against_eager"]} == {*NAMES}
    assert report["images"]["agreement"]["value"] > 0.9
    answers = answer(out, torch.randn(2, 1, 28, 28))
    assert answers["patches"].shape == (2, 49, 128)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A file of the trained model with several outputs."""
    out = tmp_path_factory.mktemp("several") / "f.onnx"
    run("onnx", "--model", "fashion_mnist", "--outputs", FASHION_OUTPUTS, "--out", out, "-q")
    return out


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_one_output_alone_is_found(tmp_path, several, name):
    model = onnx.load(several)
    for node in model.graph.node:
        node.output[:] = [f"{one}/right" if one == name else one for one in node.output]
        node.input[:] = [f"{one}/right" if one == name else one for one in node.input]
    factor = onnx.numpy_helper.from_array(np.float32(1.001), "factor")
    model.graph.initializer.append(factor)
    model.graph.node.append(onnx.helper.make_node("Mul", [f"{name}/right", "factor"], [name]))
    onnx.save(model, tmp_path / "f.onnx")
    text = run("validate", tmp_path / "f.onnx", "-q", exit_code=4).stdout
    wrong = {line.split()[1] for line in text.splitlines() if line.startswith("✗")}
    assert wrong == {name}


def test_outputs_with_names_of_each_other_are_found(tmp_path, several):
    model = onnx.load(several)
    names = {"layer_1": "layer_2", "layer_2": "layer_1"}
    for node in model.graph.node:
        node.output[:] = [names.get(one, one) for one in node.output]
        node.input[:] = [names.get(one, one) for one in node.input]
    for output in model.graph.output:
        output.name = names.get(output.name, output.name)
    onnx.save(model, tmp_path / "f.onnx")
    text = run("validate", tmp_path / "f.onnx", "-q", exit_code=4).stdout
    assert "its outputs are called token, patches, logits, layer_2, layer_1" in text


def test_predict_reads_the_logits_among_other_outputs(tmp_path, several, fashion):
    image = FASHION / "images" / "bag_1.png"
    (alone,), (among,) = (
        run_json("predict", one, image) for one in (fashion.path["onnx"], several)
    )
    assert among["classes"] == alone["classes"]
    assert among["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-4)
    out = tmp_path / "t.onnx"
    run("onnx", "--model", "fashion_mnist", "--outputs", "token,patches", "--out", out, "-q")
    assert "it answers token, patches" in expect_error("predict", out, image, exit_code=2)


def test_locate_compares_the_outputs_too(several):
    located = run_json("locate", several, "-q")
    assert [one["name"] for one in located["modules"]][-5:] == [*NAMES]
    assert located["first"] is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("token", ("token",)),
        ("token,patches", ("token", "patches")),
        ("layers:3,6,9", ("layer_3", "layer_6", "layer_9")),
        ("layers:1,token,attentions:2", ("layer_1", "token", "attention_2")),
        ("normed-layers:12, layers:12", ("normed_layer_12", "layer_12")),
        ("0,1", ("0", "1")),
        ("hidden_states.3", ("hidden_states.3",)),
        (["layers:1", "2", "token"], ("layer_1", "layer_2", "token")),
    ],
)
def test_a_list_of_outputs_is_read(text, names):
    assert parse_output_names(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has '', which is no output"),
        ("token,", "has '', which is no output"),
        ("layers:", "has 'layers:', which is no output"),
        ("layers:x", "the number 'x' of a block"),
        ("layers:0", "the number '0' of a block"),
        ("to ken", "has 'to ken', which is no output"),
        ("token,token", "names token twice"),
        ("layers:1,1", "names layer_1 twice"),
    ],
)
def test_a_text_that_is_no_list_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        parse_output_names(text)


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        (("--outputs", "layers:9"), "no output 'layer_9'", "layers:1 to layers:4"),
        (("--outputs", "cls"), "no output 'cls'", "logits, features, tokens, token, patches"),
        (("--outputs", "token,token"), "names token twice", "name each output once"),
        (("--outputs", "normed-layers:1"), "no output 'normed_layer_1'", "attentions:4"),
        (("--outputs", "logits,token", "--head", "top5"), "is for logits alone", "leave --head"),
    ],
)
def test_outputs_that_do_not_exist_are_refused(tmp_path, options, message, fix):
    words = ("onnx", "--model", "fashion_mnist", "--out", tmp_path / "f.onnx", "-q")
    text = expect_error(*words, *options, exit_code=2)
    assert message in text
    assert fix in text
