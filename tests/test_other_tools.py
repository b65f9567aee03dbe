"""Files of other tools: an honest one is proven, a wrong one is rejected with the place."""

import re

import foreign_exports as foreign
import numpy as np
import onnx
import onnxruntime
import own_modules
import pytest
import torch
import transformers
from onnx import helper
from support import expect_error, mark_slow_except, run, run_json

from vit_export.artifact.batch import Batch
from vit_export.backends.records import FileInterface, FileTensor
from vit_export.core.errors import RequestError
from vit_export.model.signature import TensorSpec, make_signature
from vit_export.validation.match_tensors import match_tensors

OWN = f"{own_modules.__file__}:Parts"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a model of transformers, and the model."""
    folder = tmp_path_factory.mktemp("vit")
    one = foreign.make_model()
    one.save_pretrained(folder)
    return folder, one


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model):
    """Files of each exporter by name, made when they are asked for."""
    files = {}

    def make(name):
        if name not in files:
            files[name] = tmp_path_factory.mktemp("exported") / "theirs.onnx"
            foreign.export(name, model[1], files[name])
        return files[name]

    return make


@pytest.mark.parametrize("exporter", foreign.EXPORTERS)
def test_an_honest_file_is_proven(model, exported, exporter):
    report = run_json("validate", exported(exporter), "--weights", model[0], "-q")
    assert (report["status"], report["problems"]) == ("PROVEN", [])
    assert report["batches"] == ([1] if exporter == "one image" else [1, 2, 3, 16])
    assert "afresh" in report["reference"]
    assert report["reading"].startswith("checked against transformers")
    assert {one["top1"] for one in report["against_eager"]} <= {True, None}


PAIRS = [
    *(("dynamo", name) for name in foreign.FORGERIES),
    *(
        (exporter, name)
        for exporter in ("script", "transformers", "timm")
        for name in foreign.FORGERIES
    ),
]


EVERYDAY = (("dynamo", "halve"), ("dynamo", "change_one_weight"))


@pytest.mark.parametrize("pair", mark_slow_except(PAIRS, *EVERYDAY), ids="-".join)
def test_a_forged_file_is_rejected(tmp_path, model, pair):
    exporter, forgery = pair
    path = tmp_path / "theirs.onnx"
    foreign.export(exporter, foreign.forge(forgery, model[1]), path)
    text = run("validate", path, "--weights", model[0], "-q", exit_code=4).stdout
    assert "REJECTED" in text


@pytest.mark.parametrize(
    ("forgery", "place"),
    [
        ("zero_head", r"computes what head.norm answers, and not what head answers"),
        ("change_mlp", r"computes what blocks\.1\.mlp_norm answers, and not what blocks\.1\.mlp "),
        ("ignore_image", r"no value in it is what embedding answers"),
    ],
)
def test_the_first_tensor_that_leaves_the_model_is_named(tmp_path, model, forgery, place):
    path = tmp_path / "theirs.onnx"
    foreign.export("dynamo", foreign.forge(forgery, model[1]), path)
    text = run("validate", path, "--weights", model[0], "-q", exit_code=4).stdout
    assert re.search(place, text)


def test_other_weights_are_rejected(tmp_path, exported):
    torch.manual_seed(9)
    other = foreign.make_model()
    with torch.no_grad():
        for one in other.parameters():
            one.mul_(1.1)
    other.save_pretrained(tmp_path)
    run("validate", exported("dynamo"), "--weights", tmp_path, "-q", exit_code=4)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A file of a user's module with several tensors, by torch's exporter, and its weights."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(4)
    module = own_modules.Parts().eval()
    torch.save(module.state_dict(), folder / "w.pth")
    path = folder / "theirs.onnx"
    foreign.export_plainly(module, path)
    return path, folder / "w.pth"


def test_outputs_of_a_module_are_matched_by_shape(parts):
    path, weights = parts
    words = ("--module", OWN, "--weights", weights, "-q")
    report = run_json("validate", path, *words, "--outputs", "logits,tokens,maps.0")
    assert report["status"] == "PROVEN"
    names = [one.name for one in onnx.load(path).graph.output]
    compared = {one["output"] for one in report["against_eager"]}
    assert compared == {*names} - {names[1]}
    assert report["caveats"] == [f"{names[1]} not compared"]


def test_outputs_of_one_shape_are_named_by_the_user(parts):
    path, weights = parts
    names = [one.name for one in onnx.load(path).graph.output]
    words = ("validate", path, "--module", OWN, "--weights", weights, "-q", "--outputs", "maps.1")
    assert run_json(*words, "--output-names", names[1])["status"] == "PROVEN"
    text = expect_error(*words, "--output-names", names[0], exit_code=2)
    assert "--output-names" in text
    assert "no output 'no'" in expect_error(*words, "--output-names", "no", exit_code=2)


def test_a_file_of_any_size_is_judged_at_one(tmp_path):
    torch.manual_seed(0)
    sizes = {name: one for name, one in foreign.SIZES.items() if name != "num_labels"}
    module = transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).eval()
    module.save_pretrained(tmp_path / "dinov2")
    foreign.export("transformers", module, tmp_path / "theirs.onnx")
    words = ("validate", tmp_path / "theirs.onnx", "--weights", tmp_path / "dinov2", "-q")
    report = run_json(*words)
    assert report["status"] == "PROVEN"
    assert report["caveats"] == ["pooler_output not compared", "no size but 3x32x32 compared"]
    both = ("--outputs", "tokens,features", "--output-names", "last_hidden_state,pooler_output")
    report = run_json(*words, *both)
    assert {one["output"] for one in report["against_eager"]} == {*both[-1].split(",")}


def test_inspect_describes_a_file_of_another_tool(exported):
    report = run_json("inspect", exported("script"))
    assert report["family"] == "onnx of another tool, fp32"
    assert report["metadata"]["images"] == "float nx3x32x32"
    assert report["audit"]["nodes"] == len(onnx.load(exported("script")).graph.node)


def test_bench_times_a_file_of_another_tool_beside_ours(tmp_path, model, exported):
    ours = tmp_path / "ours.onnx"
    run("onnx", "--weights", model[0], "--out", ours, "-q")
    words = ("--rounds", 5, "--threads", 1, "-q")
    rows = run_json("bench", ours, exported("script"), *words)["rows"]
    assert [one["name"] for one in rows] == ["ours.onnx", "theirs.onnx"]
    assert min(one["worst_snr_db"] for one in rows) > 60
    text = expect_error("bench", exported("script"), ours, *words, exit_code=2)
    assert "behind a file of the same model that vit-export wrote" in text


PRECISIONS = ("fp32", "int8", "fp16", "weights-int8")


@pytest.mark.parametrize("precision", mark_slow_except(PRECISIONS, "int8"))
@torch.no_grad()
def test_a_graph_gets_fewer_bits_and_keeps_its_names(tmp_path, model, exported, precision):
    theirs, ours = exported("script"), tmp_path / "ours.onnx"
    report = run_json("onnx", "--from", theirs, "--precision", precision, "--out", ours, "-q")
    assert report["verdict"]["status"] == "PROVEN"
    assert report["verdict"]["reference"] == "theirs.onnx in ONNX Runtime"
    session = onnxruntime.InferenceSession(ours, providers=["CPUExecutionProvider"])
    images = torch.randn(3, 3, 32, 32)
    (answers,) = session.run(["scores"], {"images": images.numpy()})
    right = model[1](images).logits.numpy()
    noise = np.square(answers - right).mean() / np.square(right - right.mean(0)).mean()
    assert noise < (1e-9 if precision == "fp32" else 0.02)
    operators = {node.op_type for node in onnx.load(ours).graph.node}
    assert ("DynamicQuantizeLinear" in operators) == (precision == "int8")
    # the result is judged by the checkpoint too, as any other file
    assert run_json("validate", ours, "-q")["status"] == "PROVEN"


def test_a_graph_of_several_outputs_and_free_sides(tmp_path, parts):
    path, _ = parts
    report = run_json("onnx", "--from", path, "--out", tmp_path / "n.onnx", "-q")
    assert report["verdict"]["status"] == "PROVEN"
    names = [
        [one.name for one in onnx.load(file).graph.output] for file in (path, tmp_path / "n.onnx")
    ]
    assert names[0] == names[1]


def edit_graph(path, out, change):
    proto = onnx.load(path)
    change(proto.graph)
    onnx.save(proto, out)
    return out


def take_pixels(graph):
    """Put a cast from 8 bits and a transposition in front."""
    name = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["normalized" if one == name else one for one in node.input]
    graph.node.insert(0, helper.make_node("Transpose", ["cast"], ["normalized"], perm=[0, 3, 1, 2]))
    graph.node.insert(0, helper.make_node("Cast", [name], ["cast"], to=onnx.TensorProto.FLOAT))
    del graph.input[:]
    shape = ["n", 32, 32, 3]
    graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, shape))


def take_channels_last(graph):
    take_pixels(graph)
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def take_two(graph):
    graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, ["n", 5]))
    graph.node.append(helper.make_node("Identity", ["mask"], ["mask_out"]))
    graph.output.append(helper.make_tensor_value_info("mask_out", onnx.TensorProto.FLOAT, ["n", 5]))


REFUSALS = {
    "pixels": (take_pixels, "so its preprocessing is inside"),
    "channels last": (take_channels_last, "so its preprocessing is inside"),
    "two inputs": (take_two, "has 2 inputs"),
}


@pytest.mark.parametrize("change", REFUSALS)
def test_a_file_with_other_inputs_is_refused(tmp_path, model, exported, change):
    edit, message = REFUSALS[change]
    path = edit_graph(exported("script"), tmp_path / "theirs.onnx", edit)
    assert message in expect_error("validate", path, "--weights", model[0], "-q", exit_code=2)


def test_a_file_that_nobody_describes_is_refused(exported):
    text = expect_error("validate", exported("script"), "-q", exit_code=2)
    assert "give --weights or --module" in text
    assert "carries no manifest" in expect_error(
        "predict", exported("script"), "a.png", exit_code=2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "fashion_mnist"), "--model means nothing with --from"),
        (("--outputs", "token"), "--outputs means nothing with --from"),
        (("--image-size", "64"), "takes images of 32x32 alone"),
        (("--batch", "4", "--classes", "3"), "--classes means nothing with --from"),
    ],
)
def test_a_graph_is_the_whole_model(tmp_path, exported, options, message):
    words = ("onnx", "--from", exported("script"), "--out", tmp_path / "n.onnx", "-q", *options)
    assert message in expect_error(*words, exit_code=2)


def test_a_graph_of_one_image_stays_one(tmp_path, exported):
    words = ("onnx", "--from", exported("one image"), "--out", tmp_path / "n.onnx", "-q")
    assert "give --batch 1" in expect_error(*words, exit_code=2)
    assert run_json(*words, "--batch", 1)["verdict"]["status"] == "PROVEN"


def test_a_quantized_file_is_judged_by_its_bits_and_is_no_source(tmp_path, model, exported):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = tmp_path / "theirs.onnx"
    quantize_dynamic(exported("script"), path, weight_type=QuantType.QInt8)
    report = run_json("validate", path, "--weights", model[0], "-q")
    assert (report["status"], report["precision"]) == ("PROVEN", "int8")
    text = expect_error("onnx", "--from", path, "--out", tmp_path / "n.onnx", "-q", exit_code=2)
    assert "no ONNX file that computes in fp32" in text


def test_options_of_foreign_files_mean_nothing_for_ours(fashion):
    text = expect_error("validate", fashion.path["onnx"], "--outputs", "token", exit_code=2)
    assert "--outputs is for files of other tools" in text


IMAGE = FileTensor("x", "float32", (None, 3, 8, 8))
SIGNATURE = make_signature(
    (3, 8, 8),
    (
        TensorSpec(name="tokens", dtype="float32", shape=("batch", 4, 6), meaning="tokens"),
        TensorSpec(name="logits", dtype="float32", shape=("batch", 5), meaning="logits"),
    ),
)


def named(**shapes):
    return tuple(FileTensor(name, "float32", (None, *shape)) for name, shape in shapes.items())


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        (named(tokens=(4, 6), logits=(5,)), ["tokens", "logits"]),
        (named(logits=(5,), tokens=(4, 6)), ["tokens", "logits"]),
        (named(a=(5,), b=(4, 6)), ["b", "a"]),
        (named(a=(None,), b=(None, 6)), ["b", "a"]),
        (
            named(last_hidden_state=(4, 6), other=(4, 6), logits=(5,)),
            ["last_hidden_state", "logits"],
        ),
    ],
)
def test_outputs_are_matched_by_name_and_by_shape(outputs, chosen):
    matched = match_tensors("f", FileInterface((IMAGE,), outputs), SIGNATURE)
    assert [one.name for one in matched.signature.outputs] == chosen
    assert matched.batch == Batch()
    assert {*matched.unmatched} == {one.name for one in outputs} - {*chosen}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (named(a=(4, 6), b=(4, 6), c=(5,)), "several outputs could be the model's tokens"),
        (named(a=(4, 6)), "no output is the model's logits"),
        (named(tokens=(4, 7), logits=(5,)), "no output is the model's tokens"),
    ],
)
def test_outputs_that_could_be_others_are_refused(outputs, message):
    with pytest.raises(RequestError, match=message):
        match_tensors("f", FileInterface((IMAGE,), outputs), SIGNATURE)


@pytest.mark.parametrize("exporter", ["script", "transformers"])
def test_locate_finds_the_modules_of_an_honest_file(model, exported, exporter):
    located = run_json("locate", exported(exporter), "--weights", model[0], "-q")
    assert located["first"] is None
    names = [one["name"] for one in located["modules"]]
    assert {"embedding", "blocks.0", "blocks.1", "head"} <= {*names}


def test_locate_names_where_a_forged_file_leaves_the_model(tmp_path, model):
    path = tmp_path / "theirs.onnx"
    foreign.export("script", foreign.forge("change_mlp", model[1]), path)
    text = expect_error("locate", path, "--weights", model[0], "-q", exit_code=4)
    assert "computes what blocks.1.mlp_norm answers, and not what blocks.1.mlp answers" in text
