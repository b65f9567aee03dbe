"""Files as training scripts write them: read without running anything, and nothing is guessed."""

import argparse
import collections
import datetime as dt
import pathlib
import random

import numpy as np
import pytest
import torch
import transformers
from timm_models import VisionTransformer
from torch import nn

from vit_export import RequestError
from vit_export.checkpoints.files import read_checkpoint
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def make_model(seed=0):
    torch.manual_seed(seed)
    model = VisionTransformer(**SIZES, num_classes=5)
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=0.05, std=0.3)
    return model.eval()


MODEL, OTHER = make_model(), make_model(1)
STATE, OTHER_STATE = MODEL.state_dict(), OTHER.state_dict()


def add_prefix(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    torch.save(content, path)
    return path


def assert_answers(path, expected=MODEL, **hints):
    model = load(weights=path, hints=CheckpointHints(heads=3, **hints))
    with torch.no_grad():
        torch.testing.assert_close(model.vit(IMAGES), expected(IMAGES), rtol=1e-4, atol=2e-5)
    return model.provenance


def make_optimizer_state():
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters())
    model(IMAGES).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


BESIDE = {
    "arguments": argparse.Namespace(lr=0.1, out=pathlib.Path("/x"), nested=argparse.Namespace()),
    "numbers of numpy": {"best_acc": np.float64(0.9), "step": np.int64(3), "flag": np.bool_(1)},
    "arrays of numpy": {"history": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "b"])},
    "random states": [np.random.RandomState(0).get_state(), random.getstate()],
    "paths": [pathlib.PurePosixPath("/x/y")],
    "dates": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.timedelta(seconds=3)],
    "collections": [collections.deque([1, 2]), collections.defaultdict(list, a=[1])],
    "an optimizer": make_optimizer_state(),
    "a loss": nn.CrossEntropyLoss(weight=torch.ones(5)),
    "types": [int, dict, slice(1, 2), range(3), frozenset({1}), complex(1, 2)],
    "the version of torch": torch.__version__,
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_what_a_training_saves_beside_the_tensors(tmp_path, beside):
    content = {"epoch": 3, "state_dict": STATE, "more": beside, "optimizer": beside}
    torch.save(content, tmp_path / "w.pth.tar")
    checkpoint = read_checkpoint(tmp_path / "w.pth.tar")
    assert checkpoint.keys == ("state_dict",)
    assert checkpoint.tensors.keys() == STATE.keys()


@pytest.mark.parametrize("name", ["arguments", "numbers of numpy", "an optimizer"])
def test_the_same_in_the_form_before_torch_1_6(tmp_path, name):
    content = {"model": STATE, "more": BESIDE[name]}
    torch.save(content, tmp_path / "w", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "w").tensors.keys() == STATE.keys()


def test_a_whole_module_in_the_form_before_torch_1_6(tmp_path):
    torch.save({"model": MODEL}, tmp_path / "w", _use_new_zipfile_serialization=False)
    with pytest.raises(RequestError, match="holds more than tensors"):
        read_checkpoint(tmp_path / "w")


class Averaged(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = MODEL


FORMS = {
    "bare": STATE,
    "AveragedModel": torch.optim.swa_utils.AveragedModel(MODEL).state_dict(),
    "teacher alone": {"teacher": add_prefix("backbone.")},
    "ema": {"ema": STATE},
    "ema and its raw weights": {"model": OTHER_STATE, "model_ema": STATE},
    "timm's state_dict_ema": {"state_dict": OTHER_STATE, "state_dict_ema": STATE, "arch": "x"},
    "DeepSpeed": {"module": STATE, "ds_config": {}, "optimizer": None},
    "net": {"net": STATE, "acc": 91.5, "epoch": 3},
    "Fabric": {"fabric": {"state": {"model": STATE}}},
    "checkpointed blocks": {
        name.replace("blocks.0.", "blocks.0._checkpoint_wrapped_module."): tensor
        for name, tensor in STATE.items()
    },
    "FSDP": {
        "_fsdp_wrapped_module." + name.replace("blocks.1.", "blocks.1._fsdp_wrapped_module."): one
        for name, one in STATE.items()
    },
    "compiled block": {name.replace("s.0.", "s.0._orig_mod."): t for name, t in STATE.items()},
    "a wrapper of one's own": add_prefix("student_backbone."),
    "open_clip around timm": add_prefix("visual.trunk."),
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_forms_of_a_training_file(tmp_path, content):
    assert_answers(write(tmp_path / "w.pt", content))


LIGHTNING = {
    "epoch": 1,
    "global_step": 5,
    "pytorch-lightning_version": "2.5.0",
    "loops": {},
    "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.9)}},
    "optimizer_states": [make_optimizer_state()],
    "lr_schedulers": [],
    "hparams_name": "kwargs",
    "hyper_parameters": {"lr": 0.1},
}
LEFTOVERS = {
    "criterion.weight": torch.ones(5),
    "val_acc.tp": torch.zeros(5),
    "train_metrics.accuracy.total": torch.zeros(1),
    "loss_fn.pos_weight": torch.ones(5),
    "class_weights": torch.ones(5),
}


def test_lightning(tmp_path):
    content = LIGHTNING | {"state_dict": add_prefix("model.") | LEFTOVERS}
    path = write(tmp_path / "run" / "last.ckpt", content)
    for one in (path, path.parent):
        assert assert_answers(one).unused.keys() == LEFTOVERS.keys()


@pytest.mark.parametrize(
    "name",
    ["n_averaged", "epoch", "global_step", "masked_embed", "mask_token", "decoder_pos_embed"],
)
def test_leftovers_are_unused_with_a_reason(tmp_path, name):
    tensor = torch.zeros(1, 1, 24) if "_" in name and "n_av" not in name else torch.tensor(3)
    tensor = torch.tensor(3) if name == "global_step" else tensor
    unused = assert_answers(write(tmp_path / "w.pth", {**STATE, name: tensor})).unused
    assert "training" in unused[name]


TOWERS = {
    "keys": {"student": OTHER_STATE, "teacher": STATE},
    "keys and prefixes": {
        "student": add_prefix("module.backbone.", OTHER_STATE),
        "teacher": add_prefix("backbone.") | {"head.last_layer.weight": torch.zeros(2, 2)},
    },
    "prefixes": add_prefix("student.", OTHER_STATE) | add_prefix("teacher."),
    "prefixes in a wrapper": {
        "model": add_prefix("module.student.", OTHER_STATE) | add_prefix("module.teacher.")
    },
    "three": {"a": OTHER_STATE, "teacher": STATE, "model_ema": OTHER_STATE},
    "beside a predictor": {
        "encoder": add_prefix("module.", OTHER_STATE),
        "teacher": add_prefix("module."),
        "predictor": {"module.predictor_embed.weight": torch.zeros(2, 2)},
        "opt": make_optimizer_state(),
    },
}


@pytest.mark.parametrize("content", TOWERS.values(), ids=TOWERS)
def test_several_models_are_a_question(tmp_path, content):
    path = write(tmp_path / "w.pth", content)
    with pytest.raises(RequestError) as refusal:
        load(weights=path, hints=CheckpointHints(heads=3))
    assert "teacher." in refusal.value.message
    assert "--prefix" in refusal.value.fix
    for prefix in ("teacher.", "teacher"):
        provenance = assert_answers(path, prefix=prefix)
    assert "[teacher]" in provenance.weights_from
    first = refusal.value.fix.split()[-1]
    assert first in refusal.value.message
    assert_answers(path, OTHER, prefix=first)


SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SMALL |= {"image_size": 16, "patch_size": 8, "intermediate_size": 48}


def make_hugging_face(seed):
    torch.manual_seed(seed)
    config = transformers.ViTConfig(**SMALL)
    return transformers.ViTModel(config, add_pooling_layer=False).eval()


@pytest.mark.parametrize("width", [24, 48])
def test_two_towers_whose_names_differ_in_their_first_word(tmp_path, width):
    """The family allows any first word: neither tower may overwrite the other in silence."""
    towers = {"vit": make_hugging_face(0), "teacher": make_hugging_face(1)}
    module = nn.ModuleDict({**towers, "classifier": nn.Linear(width, 5)})
    path = write(tmp_path / "w.pth", module.state_dict())
    with pytest.raises(RequestError) as refusal:
        load(weights=path, hints=CheckpointHints(heads=3))
    assert "'vit.', 'teacher.'" in refusal.value.message
    assert refusal.value.fix.endswith("--prefix teacher.")
    for name, tower in towers.items():
        unused = assert_answers(
            path, lambda x, tower=tower: tower(x).last_hidden_state[:, 0], prefix=name
        ).unused
        assert "classifier.weight" in unused


def test_a_tower_with_its_classifier_outside(tmp_path):
    vit, teacher, classifier = make_hugging_face(0), make_hugging_face(1), nn.Linear(24, 5)
    module = nn.ModuleDict({"vit": vit, "teacher": teacher, "classifier": classifier})
    path = write(tmp_path / "w.pth", {"model": module.state_dict()})
    unused = assert_answers(
        path,
        lambda x: classifier(vit(x).last_hidden_state[:, 0]),
        prefix="vit.",
        head_from="classifier",
        pool="token",
    ).unused
    assert unused.keys() == {f"teacher.{name}" for name in teacher.state_dict()}


def test_a_tensor_saved_under_two_names(tmp_path):
    tower = make_hugging_face(0)
    module = nn.ModuleDict({"vit": tower, "encoder": tower})
    path = write(tmp_path / "w.pth", module.state_dict())
    unused = assert_answers(path, lambda x: tower(x).last_hidden_state[:, 0]).unused
    reason = unused["encoder.embeddings.cls_token"]
    assert reason == "it is the same tensor as vit.embeddings.cls_token"


def test_the_raw_weights_beside_averaged_ones(tmp_path):
    path = write(tmp_path / "w.pth", {"model": OTHER_STATE, "model_ema": STATE})
    provenance = assert_answers(path)
    assert provenance.weights_from == "w.pth[model_ema]"
    assert "--prefix model. reads" in provenance.unused["model.cls_token"]
    assert_answers(path, OTHER, prefix="model.")


def test_a_classifier_under_another_key_is_a_question(tmp_path):
    head = {"weight": torch.zeros(5, 24), "bias": torch.zeros(5)}
    backbone = {name: tensor for name, tensor in STATE.items() if not name.startswith("head")}
    path = write(tmp_path / "w.pth", {"backbone": backbone, "classifier": head})
    with pytest.raises(RequestError) as refusal:
        load(weights=path, hints=CheckpointHints(heads=3))
    assert "classifier. (weight, bias)" in refusal.value.message
    assert "--prefix backbone." in refusal.value.fix
    model = load(weights=path, hints=CheckpointHints(heads=3, prefix="backbone."))
    assert model.signature.answer == "features"


def test_a_prefix_that_no_tensor_has(tmp_path):
    path = write(tmp_path / "w.pth", {"model": STATE})
    with pytest.raises(RequestError) as refusal:
        load(weights=path, hints=CheckpointHints(heads=3, prefix="teacher."))
    assert "model.cls_token" in refusal.value.message


def test_a_folder_of_several_files_names_them(tmp_path):
    for name in ("last.ckpt", "best.ckpt", "optimizer.pt", "training_args.bin"):
        write(tmp_path / name, STATE)
    with pytest.raises(RequestError) as refusal:
        load(weights=tmp_path, hints=CheckpointHints(heads=3))
    assert "best.ckpt, last.ckpt." in refusal.value.message
    assert refusal.value.fix.endswith(str(tmp_path / "best.ckpt"))


def test_a_class_of_ones_own_is_refused_by_name(tmp_path):
    path = write(tmp_path / "w.pth", {"model": STATE, "config": Averaged})
    with pytest.raises(RequestError) as refusal:
        load(weights=path)
    assert "test_training_files.Averaged" in refusal.value.message
    assert "state_dict()" in refusal.value.fix


def test_stand_ins_are_forgotten_after_the_file_was_read(tmp_path):
    path = write(tmp_path / "w.pth", {"model": STATE, "args": argparse.Namespace(a=1)})
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before
