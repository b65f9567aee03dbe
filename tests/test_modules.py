"""Any module in: a user's own code is built, filled, captured and proven, or refused with cause."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import own_modules
import pytest
import seed_vit
import timm_models
import torch
from support import expect_error, mark_slow_except, run, run_json
from torch import nn
from transformers import SwinConfig, SwinForImageClassification

import vit_export
from vit_export.core.errors import RequestError

CODE = Path(own_modules.__file__)
SIZE = ("--image-size", 32)
IMAGES = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def export(folder: Path, name: str, *options: object, **keywords: object) -> Path:
    out = folder / f"{name}.onnx"
    run("onnx", "--module", f"{CODE}:{name}", "--out", out, "-q", *options, **keywords)
    return out


def refusal(folder: Path, name: str, *options: object, exit_code: int = 2) -> str:
    """The message and the fix; no file is left behind."""
    out = folder / "refused.onnx"
    words = ("onnx", "--module", f"{CODE}:{name}", "--out", out, "-q", *options)
    text = expect_error(*words, exit_code=exit_code)
    assert not out.exists()
    return text


def answer(path: Path, images: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (feed,) = session.get_inputs()
    return session.run(None, {feed.name: images.numpy()})[0]


def assert_answers_like(path: Path, module: nn.Module, images: torch.Tensor = IMAGES) -> None:
    with torch.no_grad():
        expected = module.eval()(images).numpy()
    np.testing.assert_allclose(answer(path, images), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save({"epoch": 3, "model": own_modules.Net().state_dict()}, path)
    return path


def load_net(weights: Path) -> nn.Module:
    net = own_modules.Net()
    net.load_state_dict(torch.load(weights)["model"])
    return net


@pytest.mark.parametrize("name", mark_slow_except(["Net", "build", "instance"], "Net"))
def test_a_class_a_function_and_a_module_are_exported_with_weights(tmp_path, weights, name):
    out = export(tmp_path, name, "--weights", weights, *SIZE)
    assert_answers_like(out, load_net(weights))
    manifest = run_json("inspect", out)
    assert manifest["spec"] is None
    assert manifest["metadata"]["weights"] == "w.pth[model]"


@pytest.mark.slow
def test_arguments_are_python_literals_or_texts(tmp_path):
    options = ("--set", "width=12", "--set", "mode=silu", *SIZE)
    out = export(tmp_path, "build", *options)
    graph = onnx.load(out).graph
    shapes = {one.name: list(one.dims) for one in graph.initializer}
    assert shapes["patches.weight"] == [12, 3, 8, 8]
    assert "Sigmoid" in {node.op_type for node in graph.node}  # of silu


@pytest.mark.slow
def test_a_package_in_the_current_folder_is_found(tmp_path):
    package = tmp_path / "research"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "layers.py").write_text(CODE.read_text())
    (package / "net.py").write_text("from .layers import Net as build\n")
    words = ("onnx", "--out", "n.onnx", "-q", *SIZE, "--module")
    run(*words, "research.net:build", cwd=tmp_path)
    text = expect_error(*words, "research/net.py:build", exit_code=2, cwd=tmp_path)
    assert f"run it in {tmp_path} with --module research.net:build" in text


@pytest.mark.slow
def test_other_channels_than_three_are_an_input(tmp_path):
    out = export(tmp_path, "Grey", "--input", "1x32x32")
    assert list(answer(out, IMAGES[:, :1]).shape) == [5, 5]


@pytest.mark.slow
def test_random_weights_are_called_random_and_the_codes_own_are_not(tmp_path):
    random = run_json("onnx", "--module", f"{CODE}:Net", "--out", tmp_path / "a.onnx", *SIZE)
    assert (random["random_weights"], random["weights_from"]) == (True, "random, seed 0")
    words = ("--module", f"{CODE}:build_with_weights", "--out", tmp_path / "b.onnx", *SIZE)
    own = run_json("onnx", *words)
    assert own["random_weights"] is False
    assert own["weights_from"] == "own_modules.py:build_with_weights itself"


@pytest.mark.slow
def test_the_noise_floor_of_code_that_names_fp32_is_that_of_its_program(tmp_path):
    assert_answers_like(
        export(tmp_path, "DoubleFails", "--seed", 3, *SIZE), seeded(own_modules.DoubleFails, 3)
    )


def seeded(kind: type[nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return kind()


@pytest.mark.slow
def test_logits_of_several_tensors_are_the_answer(tmp_path):
    out = export(tmp_path, "Logits", *SIZE)
    assert [one.name for one in onnx.load(out).graph.output] == ["logits"]
    names = {one.name for one in onnx.load(out).graph.initializer}
    assert {"patches.weight", "head.weight"} <= names  # as in the user's module


@pytest.mark.slow
def test_a_file_of_the_problem_type_has_classes(tmp_path):
    options = ("--problem-type", "single_label", "--mean", 0.5, "--std", 0.5, "--resize", 32)
    out = export(tmp_path, "Net", *options, *SIZE)
    photo = Path(vit_export.__file__).parent / "data/photos/cat.png"
    assert len(run_json("predict", out, photo)[0]["classes"]) == 5


@pytest.mark.slow
def test_a_known_vit_the_general_way_answers_as_the_preset_does(tmp_path):
    words = ("--set", "depth=2", "--set", "emb_size=24", "--set", "num_heads=3")
    sizes = ("--set", "img_size=32", "--set", "patch_size=8", "--set", "n_classes=5")
    out = tmp_path / "seed.onnx"
    run("onnx", "--module", f"{seed_vit.__file__}:ViT", *words, *sizes, *SIZE, "--out", out, "-q")
    arguments = {"depth": 2, "emb_size": 24, "num_heads": 3, "img_size": 32}
    torch.manual_seed(0)
    module = seed_vit.ViT(**arguments, patch_size=8, n_classes=5)
    assert_answers_like(out, module)
    vit_export.onnx(module, tmp_path / "known.onnx")
    assert len(onnx.load(out).graph.node) <= len(onnx.load(tmp_path / "known.onnx").graph.node)


@pytest.mark.slow
def test_what_code_prints_leaves_the_report_alone(tmp_path):
    words = ("--module", f"{CODE}:Prints", "--out", tmp_path / "n.onnx", "--json", *SIZE)
    done = run("onnx", *words)
    assert json.loads(done.stdout)["path"] == str(tmp_path / "n.onnx")
    assert "images (1, 3, 32, 32)" in done.stderr


@pytest.mark.slow
def test_a_file_has_fewer_bits(tmp_path):
    out = export(tmp_path, "Net", "--precision", "fp16", *SIZE)
    types = {one.data_type for one in onnx.load(out).graph.initializer if len(one.dims) > 1}
    assert types == {onnx.TensorProto.FLOAT16}


@pytest.mark.slow
def test_a_folder_of_transformers_is_its_own_class(tmp_path):
    """Swin, which writes to itself under a tracer, and which no family reads."""
    sizes = {"embed_dim": 12, "depths": [2, 1], "num_heads": [1, 2], "window_size": 4}
    torch.manual_seed(0)
    config = SwinConfig(image_size=32, patch_size=4, num_labels=5, **sizes)
    module = SwinForImageClassification(config)
    module.save_pretrained(tmp_path / "swin")
    out = tmp_path / "n.onnx"
    document = run_json("onnx", "--module", f"transformers:{tmp_path / 'swin'}", "--out", out)
    assert document["verdict"]["reading"].startswith("the model of transformers 5")
    with torch.no_grad():
        expected = module.eval()(IMAGES).logits.numpy()
    np.testing.assert_allclose(answer(out, IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert run_json("inspect", out)["labels"] == 5


@pytest.mark.slow
def test_a_name_of_timm_is_its_own_model(tmp_path):
    """DINOv3: rotary positions, storage tokens, no bias of the keys."""
    sizes = {"depth": 2, "embed_dim": 24, "num_heads": 2}
    module = timm_models.create_model("vit_small_patch16_dinov3", num_classes=5, **sizes)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    words = [word for name, value in sizes.items() for word in ("--set", f"{name}={value}")]
    name = "timm:vit_small_patch16_dinov3.lvd1689m"
    options = ("--weights", tmp_path / "w.pth", "--out", tmp_path / "n.onnx", *SIZE, *words)
    text = expect_error("onnx", "--module", name, *options, exit_code=2)
    assert "unexpected in it: head.weight, head.bias" in text  # the tag says: no classes
    run("onnx", "--module", name, *options, "--set", "num_classes=5", "-q")
    assert_answers_like(tmp_path / "n.onnx", module)
    assert run_json("inspect", tmp_path / "n.onnx")["preprocessing"]["crop"] == [32, 32]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_torchscript_of_einops_code_takes_any_batch(tmp_path):
    """The seed document's module: Einsum, a class token, shapes by einops."""
    sizes = {"depth": 1, "emb_size": 24, "num_heads": 3, "img_size": 32}
    torch.manual_seed(0)
    module = seed_vit.ViT(**sizes, patch_size=8, n_classes=5).eval()
    torch.save(module.state_dict(), tmp_path / "w.pth")
    arguments = {**sizes, "patch_size": 8, "n_classes": 5}
    words = [word for name, value in arguments.items() for word in ("--set", f"{name}={value}")]
    options = ("--weights", tmp_path / "w.pth", "--out", tmp_path / "n.pt", *SIZE, "-q", *words)
    run("torchscript", "--module", f"{seed_vit.__file__}:ViT", *options)
    file = torch.jit.load(tmp_path / "n.pt")
    for images in (IMAGES, IMAGES[:1]):
        with torch.no_grad():
            torch.testing.assert_close(file(images), module(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_torchscript_that_would_not_open_is_refused(tmp_path):
    words = ("--module", f"{CODE}:Fourier", "--out", tmp_path / "n.pt", *SIZE)
    text = expect_error("torchscript", *words, exit_code=1)
    assert "as TorchScript would not open: it is no TorchScript file" in text
    assert ".partial" not in text
    assert "torch.fft_fft" in text


FIXED = "it computes with the number of images as a constant at"
REFUSALS = {
    "Nett": ("has no 'Nett'", "Did you mean 'Net'?"),
    "number": ("is a int, and no class, function or module", "name the class"),
    "give_weights": ("returns a OrderedDict, and no nn.Module", "name a class or a function"),
    "NeedsArguments": ("needs arguments: width, depth", "--set width=VALUE --set depth=VALUE"),
    "fail": ("needs arguments: width", "--set width=VALUE"),
    "Loop": (f"{FIXED} ", "give --batch 1"),
    "Groups": (f"{FIXED} ", "give --batch 1"),
    "Branch": ("depends on the numbers in the images at", "change that line"),
    "ThroughNumpy": (".numpy() is not supported", "change that line"),
    "Random": ("answers the same image differently each time", "take the random numbers"),
    "Counts": ("writes to itself while it answers: calls", "leave its parameters and buffers"),
    "Coupled": ("its answer depends on the other images", "treat each image alone"),
    "BatchSecond": ("(5, 1), whose first axis is not the batch", "return the batch first"),
    "Several": ("answers several tensors: 0, 1 of a tuple", "give --outputs 0,1"),
    "Nothing": ("answers a dict without a tensor", "whose forward returns tensors"),
    "Integers": ("answers int64", "from before they become that"),
    "TwoInputs": ("takes several inputs: images, mask", "a module of images alone"),
    "NotFinite": ("numbers that are not finite", "check its weights"),
    "Grey": ("does not answer 1 image of 3x32x32", "--input CxHxW"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_can_not_be_exported_is_refused_with_its_cause(tmp_path, name):
    message, fix = REFUSALS[name]
    text = refusal(tmp_path, name, *SIZE)
    assert message in text
    assert fix in text


@pytest.mark.parametrize(
    ("name", "code"),
    [("Loop", "for image in images])"), ("Groups", "int(images"), ("Branch", "if features[0, 0]")],
)
def test_the_line_that_stops_a_capture_is_named(tmp_path, name, code):
    lines = CODE.read_text().splitlines()
    start = lines.index(f"class {name}(Net):")
    number = next(i for i, line in enumerate(lines, 1) if i > start and code in line)
    text = refusal(tmp_path, name, *SIZE)
    assert f"own_modules.py:{number} in forward ({lines[number - 1].strip()})" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Loop", "Groups", "Coupled"])
def test_the_fix_of_a_fixed_batch_works(tmp_path, name):
    assert "--batch 1" in refusal(tmp_path, name, *SIZE)
    out = export(tmp_path, name, *SIZE, "--batch", 1)
    assert onnx.load(out).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_noisy_module_is_refused(tmp_path):
    assert "rounding noise" in refusal(tmp_path, "Noisy", *SIZE, exit_code=4)


OPTIONS = {
    ("--model", "fashion_mnist"): "--model and --module both name a model",
    ("--outputs", "tokens"): "answers one tensor, which has no part 'tokens'",
    ("--heads", 3): "--heads means nothing with --module",
    ("--classes", 3): "--classes means nothing with --module",
    ("--arch", "timm:vit_tiny_patch16_224"): "--arch means nothing with --module",
    ("--check", "require"): "--check means nothing with --module",
    ("--set", "colour=red"): "takes no argument 'colour'",
    ("--set", "12"): "which is no NAME=VALUE",
    ("--precision", "int8"): "convolutions stay in fp32",
    ("--precision", "bf16"): "bf16",
    ("--head", "softmax"): "give --problem-type if its numbers are logits",
}


@pytest.mark.parametrize("options", OPTIONS, ids=[words[0] for words in OPTIONS])
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    assert OPTIONS[options] in refusal(tmp_path, "Net", *SIZE, *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "depth=2"), "--set is for --module"),
        (("--input", "3x32x32"), "--input is for --module"),
        (("--module", "net.py"), "--module is 'net.py'"),
        (("--module", "net.py:build"), "there is no file net.py"),
        (("--module", "no_such_package.net:build"), "No module named 'no_such_package'"),
        (("--module", f"{CODE}:Net"), "Nothing says which images"),
        (("--module", f"{CODE}:Net", "--input", "3x-32"), "which is no shape of one image"),
        (("--module", f"{CODE}:Net", "--input", "3x8x8", *SIZE), "--input has the image's size"),
    ],
)
def test_a_request_that_names_no_module_is_refused(tmp_path, options, message):
    text = expect_error("onnx", "--out", tmp_path / "n.onnx", *options, exit_code=2)
    assert message in text


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import torch\nimport not_here\n", "No module named 'not_here', at "),
        ("def f(:\n", "SyntaxError"),
        ("x = 1 / 0\n", "ZeroDivisionError: division by zero, at "),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_code_that_does_not_import_is_named_with_its_last_frames(tmp_path, code, message):
    (tmp_path / "net.py").write_text(code)
    words = ("onnx", "--module", "net.py:build", "--out", "n.onnx", *SIZE)
    text = expect_error(*words, exit_code=2, cwd=tmp_path)
    assert "--module net.py:build does not import: " in text
    assert message in text


def test_code_that_fails_is_named_with_its_last_frames(tmp_path):
    text = refusal(tmp_path, "fail", "--set", "width=3", *SIZE)
    assert "ValueError: no net is 3 wide, at " in text
    assert "in fail (raise ValueError" in text


def test_weights_that_do_not_fit_are_named_both_ways(tmp_path, weights):
    tensors = torch.load(weights)["model"]
    tensors["extra.weight"] = tensors.pop("head.weight")
    torch.save(tensors, tmp_path / "other.pth")
    text = refusal(tmp_path, "Net", "--weights", tmp_path / "other.pth", *SIZE)
    assert "missing in other.pth: head.weight; unexpected in it: extra.weight" in text
    text = refusal(tmp_path, "Net", "--weights", weights, "--set", "width=12", *SIZE)
    assert "of another shape: patches.weight (8, 3, 8, 8) instead of (12, 3, 8, 8)" in text


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model."])
def test_wrappers_of_training_are_taken_off(tmp_path, weights, prefix):
    tensors = torch.load(weights)["model"]
    torch.save({f"{prefix}{name}": one for name, one in tensors.items()}, tmp_path / "w.pt")
    out = export(tmp_path, "Net", "--weights", tmp_path / "w.pt", *SIZE)
    assert_answers_like(out, load_net(weights))


@pytest.mark.slow
def test_of_several_state_dicts_the_user_names_one(tmp_path, weights):
    tensors = torch.load(weights)["model"]
    others = own_modules.Net().state_dict()
    torch.save({"student": others, "teacher": tensors}, tmp_path / "w.pt")
    text = refusal(tmp_path, "Net", "--weights", tmp_path / "w.pt", *SIZE)
    assert "'student.', 'teacher.'" in text
    options = ("--weights", tmp_path / "w.pt", "--prefix", "teacher.")
    assert_answers_like(export(tmp_path, "Net", *options, *SIZE), load_net(weights))
    torch.save({"model": others, "model_ema": tensors}, tmp_path / "w.pt")
    assert_answers_like(export(tmp_path, "Net", *options[:2], *SIZE), load_net(weights))


@pytest.mark.slow
def test_a_file_is_validated_against_its_code(tmp_path, weights):
    out = export(tmp_path, "Net", "--weights", weights, *SIZE)
    run("validate", out, "-q")
    again = ("--weights", weights, "--module", f"{CODE}:Net")
    verdict = run_json("validate", out, *again)
    assert verdict["reference"] == "eager PyTorch, afresh from w.pth"
    assert "give that code too" in expect_error("validate", out, "--weights", weights, exit_code=2)
    text = expect_error("validate", out, *again, "--set", "width=8", exit_code=2)
    assert "The file was exported with no --set." in text
    torch.save(own_modules.Net().state_dict(), tmp_path / "other.pth")
    again = ("--weights", tmp_path / "other.pth", "--module", f"{CODE}:Net")
    assert "is not the model" in expect_error("validate", out, *again, exit_code=4)


@pytest.mark.slow
def test_a_torchscript_file_is_validated_against_its_code(tmp_path, weights):
    out, own = tmp_path / "n.pt", ("--weights", weights, "--module", f"{CODE}:Net")
    run("torchscript", *own, *SIZE, "--out", out, "-q")
    run("validate", out, "-q", *own)
    other = ("--weights", weights, "--module", f"{CODE}:Fourier")
    assert "is not the model" in expect_error("validate", out, *other, exit_code=4)


@pytest.mark.slow
def test_a_known_family_needs_no_code(fashion):
    words = ("validate", fashion.path["onnx"], "--module", f"{CODE}:Net")
    assert "is of a known family" in expect_error(*words, exit_code=2)


@pytest.mark.slow
def test_a_module_in_memory_is_exported_with_an_example(tmp_path):
    module = own_modules.Net()
    with pytest.raises(RequestError, match="give example="):
        vit_export.onnx(module, tmp_path / "n.onnx")
    result = vit_export.onnx(module, tmp_path / "n.onnx", example=IMAGES[:1])
    assert_answers_like(tmp_path / "n.onnx", module)
    assert "the module's own code is the reference (" in result.verdict.reading
    vit_export.onnx(module, tmp_path / "n.onnx", image_size="32")
    assert_answers_like(tmp_path / "n.onnx", module)


@pytest.mark.slow
def test_a_module_that_computes_something_else_than_its_tensors_say_is_its_own_code(tmp_path):
    class Doubled(seed_vit.ViT):
        def forward(self, images):
            return super().forward(images) * 2

    torch.manual_seed(0)
    sizes = {"depth": 1, "emb_size": 24, "num_heads": 3, "img_size": 32}
    module = Doubled(**sizes, patch_size=8, n_classes=5)
    vit_export.onnx(module, tmp_path / "n.onnx", example=IMAGES)
    assert_answers_like(tmp_path / "n.onnx", module)


@pytest.mark.slow
def test_a_known_family_in_memory_stays_the_fast_way(tmp_path):
    sizes = {"depth": 1, "emb_size": 24, "num_heads": 3, "img_size": 32}
    module = seed_vit.ViT(**sizes, patch_size=8, n_classes=5)
    vit_export.onnx(module, tmp_path / "n.onnx", example=IMAGES)
    assert json.loads(run("inspect", tmp_path / "n.onnx", "--json").stdout)["spec"] is not None


@pytest.mark.slow
def test_the_same_request_gives_the_same_bytes(tmp_path):
    first = export(tmp_path, "Net", *SIZE).read_bytes()
    assert export(tmp_path, "Net", *SIZE).read_bytes() == first


TRAPS = ("numpy", "torch", "einops", "trap", "modeling_trap", "vit_export", "sitecustomize")


@pytest.fixture
def traps(tmp_path) -> Path:
    """A folder of modules, each of which leaves a file RAN beside itself when it is imported."""
    for name in TRAPS:
        code = f"open({str(tmp_path / 'RAN')!r}, 'w').close()\nraise SystemExit({name!r})\n"
        (tmp_path / f"{name}.py").write_text(code)
    return tmp_path


def expect_no_code(folder: Path) -> None:
    assert not (folder / "RAN").exists()


def test_neither_a_config_nor_a_preset_nor_a_manifest_imports_code(traps, weights):
    """`auto_map` of transformers, and each text where a file could name code, stay texts."""
    config = {"architectures": ["TrapModel"], "model_type": "trap"}
    config["auto_map"] = {"AutoConfig": "trap.Config", "AutoModel": "modeling_trap.TrapModel"}
    (traps / "config.json").write_text(json.dumps(config))
    torch.save(torch.load(weights)["model"], traps / "pytorch_model.bin")
    words = ("--out", "n.onnx", "-q")
    expect_error("onnx", "--weights", ".", *words, exit_code=2, cwd=traps)
    text = expect_error("onnx", "--module", "transformers:.", *words, exit_code=2, cwd=traps)
    assert "has no TrapModel" in text
    (traps / "m.toml").write_text('module = "trap:build"\n')
    expect_error("onnx", "--model", "m.toml", *words, exit_code=2, cwd=traps)
    expect_error("inspect", ".", exit_code=2, cwd=traps)
    expect_no_code(traps)


@pytest.mark.slow
def test_a_file_that_names_code_imports_none(traps, weights):
    """The manifest of a file records `--module`, which anybody could change to another text."""
    (traps / "net.py").write_text(CODE.read_text())
    words = ("--module", "net.py:Net", "--weights", weights, *SIZE, "-q")
    run("onnx", *words, "--out", "n.onnx", cwd=traps)
    expect_no_code(traps)  # neighbours of the user's code take the place of no installed package
    model = onnx.load(traps / "n.onnx")
    for entry in model.metadata_props:
        entry.value = entry.value.replace("net.py:Net", "trap.py:Net")
    onnx.save(model, traps / "n.onnx")
    run("validate", "n.onnx", "-q", cwd=traps)
    run("inspect", "n.onnx", cwd=traps)
    text = expect_error("validate", "n.onnx", "--weights", weights, exit_code=2, cwd=traps)
    assert "trap.py:Net" in text
    expect_no_code(traps)


def test_the_traps_would_work(traps):
    words = ("onnx", "--module", "trap:build", "--out", "n.onnx", *SIZE)
    assert "SystemExit: trap" in expect_error(*words, exit_code=2, cwd=traps)
    assert (traps / "RAN").exists()
