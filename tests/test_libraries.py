"""The library that a checkpoint comes from confirms how it was read, or the export stops."""

import copy
import json
import shutil
import socket

import pytest
import torch
import transformers
from safetensors.torch import save_file
from timm_models import create_model, save_for_hf
from torch import nn

from vit_export import MissingError, RequestError
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.libraries import base
from vit_export.checkpoints.libraries.building import load_tensors
from vit_export.checkpoints.load import load
from vit_export.model.vit.presets import load_preset
from vit_export.validation.reading import ReadingError, check_reading

SIZES = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3}
SIZES |= {"image_size": 32, "patch_size": 8, "intermediate_size": 96}
TEXT = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3}
TEXT |= {"intermediate_size": 50, "vocab_size": 50, "bos_token_id": None, "eos_token_id": None}
TIMM = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}


def randomize(module):
    """Draw every parameter, so that no part is neutral."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        scale = parameter.ndim == 1 and name.endswith("weight")
        nn.init.normal_(parameter, mean=float(scale), std=0.2)
    return module.eval()


def save_timm(folder, **arguments):
    model = randomize(create_model("vit_base_patch16_224", num_classes=5, **TIMM, **arguments))
    save_for_hf(model, folder, model_args={**TIMM, **arguments})
    return folder


def save_bare(path, model):
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, path)
    return path


def edit_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(**SIZES, num_labels=3)
    randomize(transformers.ViTForImageClassification(config)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bare_vit(tmp_path_factory):
    config = transformers.ViTConfig(**SIZES, num_labels=3)
    model = randomize(transformers.ViTForImageClassification(config))
    return save_bare(tmp_path_factory.mktemp("bare") / "w.safetensors", model)


@pytest.fixture(scope="module")
def bare_timm(tmp_path_factory):
    model = randomize(create_model("vit_tiny_patch16_224", num_classes=5, img_size=64))
    return save_bare(tmp_path_factory.mktemp("timm") / "w.safetensors", model)


def read(weights, check="require", **hints):
    return load(
        weights=weights, hints=CheckpointHints(**hints), check=check, check_reading=check_reading
    )


CLASSES = {
    "ViTModel": lambda: transformers.ViTConfig(**SIZES),
    "DeiTForImageClassificationWithTeacher": lambda: transformers.DeiTConfig(**SIZES),
    "Dinov2ForImageClassification": lambda: transformers.Dinov2Config(**SIZES, num_labels=3),
    "ViTMAEModel": lambda: transformers.ViTMAEConfig(**SIZES),
    "CLIPVisionModelWithProjection": lambda: transformers.CLIPVisionConfig(**SIZES),
    "CLIPModel": lambda: transformers.CLIPConfig(vision_config=SIZES, text_config=TEXT),
    "SiglipForImageClassification": lambda: transformers.SiglipConfig(
        vision_config=SIZES, text_config=TEXT, num_labels=4
    ),
}


EVERYDAY = ("ViTModel", "CLIPModel")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in EVERYDAY else pytest.mark.slow) for n in CLASSES]
)
def test_transformers_confirms_its_own_folders(name, tmp_path):
    randomize(getattr(transformers, name)(CLASSES[name]())).save_pretrained(tmp_path)
    assert read(tmp_path).reading == f"checked against transformers {transformers.__version__}"


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_timm_confirms_its_own_folders(pool, tmp_path):
    assert read(save_timm(tmp_path / "m", global_pool=pool)).reading.startswith(
        "checked against timm "
    )


WRONG = {
    "heads": ({"heads": 4}, "block 0", "--heads"),
    "activation": ({"activation": "quick_gelu"}, "block 0", "--activation"),
    "norm_eps": ({"norm_eps": 1e-2}, "block 0", "--norm-eps"),
    "pool": ({"pool": "mean"}, "the head", "--pool"),
}


@pytest.mark.parametrize("fact", WRONG)
def test_another_model_is_refused_with_the_first_part_that_differs(fact, vit):
    """The fix works to the letter: without the option the checkpoint is read rightly."""
    hints, place, option = WRONG[fact]
    with pytest.raises(ReadingError, match=f"ViTForImageClassification.* {place}") as refusal:
        read(vit, **hints)
    assert refusal.value.fix == f"leave {option} out."
    assert read(vit, check="off", **hints).reading == "by vit-export alone, with --check off"


def test_the_first_block_that_differs_is_named(vit):
    """One wrong tensor, changed behind the reader's back."""

    def check(judge, model):
        model = model.with_vit(copy.deepcopy(model.vit))  # the library's shares its tensors
        with torch.no_grad():
            model.vit.blocks[1].mlp.expand.bias.add_(0.5)
        return check_reading(judge, model)

    with pytest.raises(ReadingError, match="block 1 answers something else"):
        load(weights=vit, check_reading=check)


def test_another_embedding_is_named(vit):
    def check(judge, model):
        model = model.with_vit(copy.deepcopy(model.vit))
        with torch.no_grad():
            model.vit.embedding.positions.mul_(1.5)
        return check_reading(judge, model)

    with pytest.raises(ReadingError, match="the embedding"):
        load(weights=vit, check_reading=check)


def test_a_bare_file_of_transformers_is_read_by_its_arch(bare_vit):
    arch = "transformers:ViTForImageClassification"
    loaded = read(bare_vit, arch=arch, heads=3)
    assert loaded.reading.startswith("checked against transformers ")
    assert not loaded.assumed.keys() & {"pool", "activation", "norm_eps", "trained_size"}
    with pytest.raises(RequestError, match="does not say how many heads a width of 48") as refusal:
        read(bare_vit, arch=arch)
    assert "--heads" in refusal.value.fix


@pytest.mark.parametrize("tag", ["", pytest.param(".augreg_in21k", marks=pytest.mark.slow)])
def test_a_bare_file_of_timm_is_read_by_its_arch(tag, bare_timm):
    loaded = read(bare_timm, arch=f"timm:vit_tiny_patch16_224{tag}")
    assert loaded.reading.startswith("checked against timm ")
    assert (loaded.vit.spec.heads, loaded.vit.spec.image_size) == (3, (64, 64))


REFUSED = {
    "no colon": ("vit_tiny_patch16_224", "no LIBRARY:NAME", "timm:vit_base_patch16_224"),
    "no such library": ("tim:vit_tiny_patch16_224", "library 'tim'", "'timm'"),
    "no such name": ("timm:vit_tyni_patch16_224", "no model", "'vit_tiny_patch16_224'"),
    "another size": ("timm:vit_small_patch16_224", "does not take these tensors", "--arch"),
    "another kind": ("timm:resnet18", "has other tensors", "--arch"),
    "another library": ("transformers:ViTModel", "tensors of .* are timm", "--arch"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_an_arch_that_is_not_the_checkpoints_is_refused(case, bare_timm):
    arch, message, fix = REFUSED[case]
    with pytest.raises(RequestError, match=message) as refusal:
        read(bare_timm, arch=arch)
    assert fix in refusal.value.fix


@pytest.mark.slow
def test_an_arch_beside_a_config_of_another_model_is_refused(vit):
    with pytest.raises(RequestError, match="names transformers:ViTForImageClassification"):
        read(vit, arch="timm:vit_tiny_patch16_224")
    assert read(vit, arch="transformers:ViTForImageClassification").reading


@pytest.mark.slow
def test_a_bare_file_is_read_alone_and_told_what_checks_it(bare_timm):
    assert read(bare_timm, check="auto", heads=3).reading == (
        "by vit-export alone; `--arch timm:NAME` checks it"
    )
    with pytest.raises(RequestError, match="nothing names the timm model") as refusal:
        read(bare_timm, heads=3)
    assert "--arch timm:NAME" in refusal.value.fix


def test_a_family_without_a_library_says_so():
    weights = load_preset("fashion_mnist").weights
    loaded = load("fashion_mnist", weights=weights, check_reading=check_reading)
    assert loaded.reading.startswith("by vit-export alone: no library builds")
    with pytest.raises(RequestError, match="no library builds"):
        load("fashion_mnist", weights=weights, check="require", check_reading=check_reading)


def test_a_class_that_transformers_lacks_is_read_alone(vit, tmp_path):
    """Its code came with the checkpoint, and is never run."""
    folder = shutil.copytree(vit, tmp_path / "m")
    edit_config(folder, architectures=["MyOwnViT"], auto_map={"AutoModel": "evil.MyOwnViT"})
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    assert "has no MyOwnViT" in read(folder, check="auto").reading
    with pytest.raises(RequestError, match="has no MyOwnViT"):
        read(folder)


def test_a_head_of_ones_own_is_not_confirmed(tmp_path):
    """The library has everything but the head, which is said."""
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES, num_labels=3))
    model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(48, 3))
    randomize(model).save_pretrained(tmp_path)
    assert read(tmp_path, check="auto").reading.endswith(
        ", all but its head, which the library does not have"
    )
    with pytest.raises(RequestError, match="no answer that checks its head"):
        read(tmp_path)


@pytest.mark.slow
def test_nothing_is_fetched(vit, bare_timm, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert read(vit).reading
    assert read(bare_timm, arch="timm:vit_tiny_patch16_224").reading


def test_a_library_that_is_not_installed_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(
        base, "import_named", lambda *_: base.Absence("timm is not installed", "pip install timm")
    )
    folder = save_timm(tmp_path / "m")
    assert read(folder, check="auto").reading == (
        "by vit-export alone, since timm is not installed; `pip install timm` checks it"
    )
    with pytest.raises(MissingError, match="timm is not installed") as missing:
        read(folder)
    assert "pip install timm" in missing.value.fix


def test_a_library_that_does_not_import_counts_as_absent(tmp_path, monkeypatch):
    """timm without torchvision, and any other failure at import."""
    (tmp_path / "broken_library.py").write_text("import no_such_package_at_all")
    (tmp_path / "failing_library.py").write_text("raise RuntimeError('operator nms')")
    monkeypatch.syspath_prepend(tmp_path)
    broken = base.import_named("broken_library", "broken")
    assert "does not import (No module named 'no_such_package_at_all')" in broken.reason
    assert broken.fix == "pip install no_such_package_at_all"
    assert "operator nms" in base.import_named("failing_library", "failing").reason
    assert base.import_named("absent_library", "absent").fix == "pip install absent"


def test_an_answer_that_needs_a_missing_tensor_is_no_number():
    """Initial values may be neutral, and would then confirm a reading that lacks a part."""
    module = nn.Linear(2, 3)
    missing, unexpected = load_tensors(
        module, {"weight": torch.ones(3, 2), "gamma": torch.ones(2)}, "it"
    )
    assert (missing, unexpected) == (("bias",), ("gamma",))
    assert module(torch.ones(1, 2)).isnan().all()
