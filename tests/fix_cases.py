"""Requests that are refused, and what their users know: each `Fix:` is followed to the letter."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from foreign_names import as_torchvision
from lora_adapters import FOLDER as LORA
from lora_adapters import SIZES as LORA_SIZES
from reading_cases import draw
from safetensors.torch import save_file
from test_open_clip import Tower, write_folder
from timm_models import QuickGELU, SwiGLUPacked, VisionTransformer, create_model, save_for_hf
from torch import nn

from vit_export.model.vit.state import random_vit

Request = dict[str, Any]
TIMM = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
HF = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "intermediate_size": 50,
    "image_size": 16,
    "patch_size": 8,
}
HEADS = {"--heads": 3}
STEPS = {"--mean": "0.5", "--std": "0.5", "--resize": "16"}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A request that is refused, and the values that its user can give."""

    name: str
    make: Callable[[Path], tuple[nn.Module | None, Request]]
    """Return the model that the answers are compared with, and the request by option."""
    knows: Mapping[str, Any] = field(default_factory=dict)
    """Values by option; a tuple has several, of which one that is refused gives way to the next."""
    names: tuple[str, ...] = ()
    """Options that the first refusal has to name, all at once."""


def _timm(folder: Path, given: Request, **changes: Any) -> tuple[nn.Module, Request]:
    model = draw(VisionTransformer(**{**TIMM, "num_classes": 5, **changes}))
    torch.save(model.state_dict(), folder / "w.pth")
    return model, {"--weights": folder / "w.pth", **given}


def _timm_folder(
    folder: Path, given: Request, settings: Mapping[str, Any], **changes: Any
) -> tuple[nn.Module, Request]:
    model = draw(VisionTransformer(**{**TIMM, "num_classes": 5, **changes}))
    model.pretrained_cfg = {"architecture": "vit_tiny_patch16_224", "input_size": [3, 16, 16]}
    save_for_hf(model, folder, model_args={**TIMM, "num_classes": 5}, safe_serialization=True)
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] = {"mean": [0.5] * 3, "std": [0.5] * 3, **settings}
    (folder / "config.json").write_text(json.dumps(config))
    return model, {"--weights": folder, **given}


def _hugging_face(
    folder: Path,
    given: Request,
    files: Mapping[str, Mapping[str, Any]],
    kind: str = "ViT",
    **changes: Any,
) -> tuple[nn.Module, Request]:
    config = getattr(transformers, f"{kind}Config")(**HF, num_labels=5)
    model = draw(getattr(transformers, f"{kind}ForImageClassification")(config))
    model.save_pretrained(folder)
    for name, values in files.items():
        path = folder / name
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(before | dict(values) | changes))
    return model, {"--weights": folder, **given}


def _towers(folder: Path, *, keys: bool, kind: str = "timm") -> tuple[nn.Module, Request]:
    """Two models in one file, under keys or under prefixes."""
    towers = {name: _make_tower(kind) for name in ("teacher", "student")}
    nn.init.normal_(next(towers["student"].parameters()))
    states = {name: tower.state_dict() for name, tower in towers.items()}
    flat = {f"{k}.{n}": t for k, state in states.items() for n, t in state.items()}
    torch.save(states if keys else flat, folder / "w.pth")
    return towers["teacher"], {"--weights": folder / "w.pth"}


def _make_tower(kind: str) -> nn.Module:
    if kind == "timm":
        return draw(VisionTransformer(**TIMM, num_classes=5))
    return draw(transformers.ViTModel(transformers.ViTConfig(**HF), add_pooling_layer=False))


def _prefixed(folder: Path) -> tuple[nn.Module, Request]:
    """A model beside tensors of another kind, of which no wrapper is known."""
    model = draw(VisionTransformer(**TIMM, num_classes=5))
    state = {f"net.vit.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(state | {"net.decoder.weight": torch.zeros(2)}, folder / "w.pth")
    return model, {"--weights": folder / "w.pth"}


def _two_files(folder: Path) -> tuple[nn.Module, Request]:
    model, request = _timm(folder, {})
    torch.save(model.state_dict(), folder / "v.pth")
    return model, {**request, "--weights": folder}


def _ours(folder: Path, given: Request) -> tuple[nn.Module, Request]:
    path = folder / "mine.toml"
    path.write_text(
        "[vit]\nimage_size = 16\npatch_size = 8\nwidth = 24\ndepth = 1\nheads = 3\nclasses = 5\n"
    )
    from vit_export.model.vit.presets import load_preset

    vit = random_vit(load_preset(str(path)).spec, 0)
    save_file(vit.state_dict(), folder / "w.safetensors")
    return vit, {"--weights": folder / "w.safetensors", **given}


def _torchvision(folder: Path) -> tuple[nn.Module, Request]:
    """A model with the sizes of no builder of torchvision; 1e-6 is its epsilon."""
    config = transformers.ViTConfig(**{**HF, "layer_norm_eps": 1e-6}, num_labels=5)
    theirs = draw(transformers.ViTForImageClassification(config))
    from vit_export.checkpoints.load import load

    torch.save(as_torchvision(load(theirs).vit.state_dict()), folder / "w.pth")
    return theirs, {"--weights": folder / "w.pth"}


def _published(folder: Path, given: Request) -> tuple[nn.Module, Request]:
    model = draw(create_model("test_vit", num_classes=5))
    torch.save(model.state_dict(), folder / "w.pth")
    return model, {"--weights": folder / "w.pth", "--heads": 2, **given}


def _preset(folder: Path) -> tuple[nn.Module | None, Request]:
    model, request = _timm(folder, {"--model": "vit_tiny_patch16_224"})
    return model, request


def _labels(folder: Path) -> tuple[nn.Module, Request]:
    (folder / "names.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    return _hugging_face(folder, {}, {"config.json": {"id2label": {"0": "a", "1": "b"}}})


def _processor(**values: Any) -> Callable[[Path], tuple[nn.Module | None, Request]]:
    whole = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    files = {"preprocessor_config.json": {**whole, **values}}
    return partial(_hugging_face, given={}, files=files)


class OwnHead(nn.Module):
    """A user's classifier over a ViTModel, whose pooler stays in the file."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.vit = transformers.ViTModel(transformers.ViTConfig(**HF))
        self.classifier = nn.Sequential(*layers) if len(layers) > 1 else layers[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.vit(images).last_hidden_state[:, 0])


def _own_head(folder: Path, given: Request, *layers: nn.Module) -> tuple[nn.Module, Request]:
    model = draw(OwnHead(*layers))
    torch.save(model.state_dict(), folder / "w.pth")
    return model, {"--weights": folder / "w.pth", **HEADS, **given}


def _unnamed_head(folder: Path) -> tuple[nn.Module, Request]:
    """A user's classifier beside the config.json of the model below it."""
    model, _ = _own_head(folder, {}, nn.Linear(24, 5))
    state = {name: t for name, t in model.state_dict().items() if "pooler" not in name}
    save_file(state, folder / "model.safetensors")
    (folder / "w.pth").unlink()
    config = model.vit.config.to_dict() | {"architectures": ["ViTModel"], "id2label": None}
    (folder / "config.json").write_text(json.dumps(config))
    return model, {"--weights": folder, "--check": "require"}


def _adapter(folder: Path, sizes: Mapping[str, Any] | None) -> tuple[None, Request]:
    """An adapter beside a base of other sizes; None leaves the base out."""
    request = {"--weights": LORA / "patterns"}
    if sizes is None:
        return None, request
    config = transformers.ViTConfig(**{**LORA_SIZES, **sizes}, num_labels=3)
    transformers.ViTForImageClassification(config).save_pretrained(folder / "other")
    return None, {**request, "--base": "other"}


def _arch(folder: Path) -> tuple[nn.Module, Request]:
    """A bare ViT of a width that no class of transformers has by default."""
    config = transformers.ViTConfig(**HF, num_labels=5)
    model = draw(transformers.ViTForImageClassification(config))
    torch.save(model.state_dict(), folder / "w.pth")
    arch = "transformers:ViTForImageClassification"
    return model, {"--weights": folder / "w.pth", "--arch": arch}


def _open_clip(folder: Path, **steps: Any) -> tuple[nn.Module, Request]:
    """A folder of OpenCLIP whose preprocessing has other settings."""
    tower = draw(Tower())
    write_folder(folder, tower, {})
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"preprocess_cfg": {**config["preprocess_cfg"], **steps}}))
    return tower, {"--weights": folder}


def _projected_trunk(folder: Path) -> tuple[nn.Module, Request]:
    """A tower of timm in a folder of OpenCLIP, with a projection behind it."""
    name = "vit_base_patch16_siglip_224"
    tower, trunk = nn.Module(), create_model(name, depth=1, img_size=32, num_classes=0)
    tower.visual = nn.ModuleDict({"trunk": trunk, "head": nn.Linear(768, 10, bias=False)})
    vision = {"timm_model_name": name, "timm_pool": "map", "timm_proj": "linear"}
    write_folder(folder, draw(tower), vision)
    return trunk, {"--weights": folder}


CLIP = {"pre_norm": True, "act_layer": QuickGELU, "norm_layer": nn.LayerNorm}
SITUATIONS = (
    Situation(
        name="heads of a bare file", make=partial(_timm, given={}), knows=HEADS, names=("--heads",)
    ),
    Situation(
        name="heads and activation at once",
        make=partial(_timm, given={}, **CLIP),
        knows=HEADS | {"--activation": "quick_gelu"},
        names=("--heads", "--activation"),
    ),
    Situation(name="heads of torchvision", make=_torchvision, knows=HEADS, names=("--heads",)),
    Situation(
        name="our own names",
        make=partial(_ours, given={}),
        knows={"--model": "mine.toml"},
        names=("--model",),
    ),
    Situation(
        name="images that are not square",
        make=partial(_timm, given=HEADS, img_size=(16, 24)),
        knows={"--trained-size": "16x24"},
        names=("--trained-size",),
    ),
    Situation(
        name="heads and size at once",
        make=partial(_timm, given={}, img_size=(16, 24)),
        knows=HEADS | {"--trained-size": "16x24"},
        names=("--heads", "--trained-size"),
    ),
    Situation(
        name="another trained size",
        make=partial(_timm, given=HEADS | {"--trained-size": "32x32"}, img_size=(16, 24)),
        knows={"--trained-size": "16x24"},
    ),
    Situation(
        name="a pool that the tensors contradict",
        make=partial(_hugging_face, given={"--pool": "mean"}, files={}, kind="Dinov2"),
        names=("--pool",),
    ),
    Situation(
        name="an activation that the tensors contradict",
        make=partial(
            _timm,
            given=HEADS | {"--activation": "gelu"},
            mlp_layer=SwiGLUPacked,
            act_layer=nn.SiLU,
        ),
        knows={"--activation": "swiglu"},
        names=("--activation",),
    ),
    Situation(
        name="a gate that the tensors do not have",
        make=partial(_timm, given=HEADS | {"--activation": "swiglu"}),
        knows={"--activation": "gelu"},
        names=("--activation",),
    ),
    Situation(
        name="labels of another number",
        make=_labels,
        knows={"--labels": "names.txt"},
        names=("--labels",),
    ),
    Situation(
        name="labels of a model without classes",
        make=partial(_hugging_face, given={"--labels": "x", "--outputs": "features"}, files={}),
        names=("--labels",),
    ),
    Situation(
        name="another number of classes",
        make=partial(_timm, given=HEADS | {"--classes": 7}),
        names=("--classes",),
    ),
    Situation(
        name="an image processor that does not scale",
        make=_processor(do_rescale=False),
        knows=STEPS | {"--resize": "32"},
        names=("--mean", "--std", "--resize"),
    ),
    Situation(
        name="an unknown image processor",
        make=_processor(image_processor_type="PixelShuffler"),
        knows=STEPS,
        names=("--mean", "--std", "--resize"),
    ),
    Situation(
        name="a crop of timm that is not supported",
        make=partial(
            _timm_folder, given={}, settings={"input_size": [3, 16, 16], "crop_mode": "border"}
        ),
        knows=STEPS,
        names=("--mean", "--std", "--resize"),
    ),
    Situation(
        name="a mean without the other steps",
        make=partial(_ours, given={"--model": "mine.toml", "--mean": "0.5"}),
        knows=STEPS,
        names=("--std", "--resize"),
    ),
    Situation(
        name="a mean of four channels alone",
        make=partial(_timm, given=HEADS | {"--mean": "0.5"}, in_chans=4),
        knows=STEPS,
        names=("--std", "--resize"),
    ),
    Situation(
        name="a crop of another size",
        make=partial(_hugging_face, given={"--crop": "32"}, files={}),
        knows={"--image-size": "32", "--crop": "16"},
        names=("--image-size",),
    ),
    Situation(
        name="a resize out of proportion",
        make=partial(_timm, given=HEADS | {"--resize": "5000"}),
        knows={"--resize": "24", "--crop": ("0.875", "16")},
        names=("--resize",),
    ),
    Situation(
        name="a resize of open_clip alone",
        make=partial(_open_clip, resize_mode="longest"),
        knows=STEPS | {"--resize": "32"},
        names=("--mean", "--std", "--resize"),
    ),
    Situation(
        name="a projection behind a tower of timm",
        make=_projected_trunk,
        knows={"--prefix": "visual.trunk."},
        names=("--prefix",),
    ),
    Situation(
        name="a norm behind the pool of timm",
        make=partial(
            _timm,
            given=HEADS | {"--pool": "patch_mean_norm"},
            global_pool="avg",
            fc_norm=False,
        ),
        knows={"--pool": "patch_mean"},
        names=("--pool",),
    ),
    Situation(name="a preset of other sizes", make=_preset, knows=HEADS, names=("--model",)),
    Situation(
        name="a base without an adapter",
        make=partial(_timm, given=HEADS | {"--base": "x"}),
        names=("--base",),
    ),
    Situation(
        name="a prefix that no tensor has",
        make=partial(_timm, given=HEADS | {"--prefix": "student."}),
        names=("--prefix",),
    ),
    Situation(
        name="two towers",
        make=partial(_towers, keys=False),
        knows=HEADS | {"--prefix": "teacher."},
        names=("--prefix",),
    ),
    Situation(
        name="two towers of Hugging Face",
        make=partial(_towers, keys=False, kind="transformers"),
        knows=HEADS | {"--prefix": "teacher."},
        names=("--prefix",),
    ),
    Situation(
        name="two models under keys",
        make=partial(_towers, keys=True),
        knows=HEADS | {"--prefix": "teacher."},
        names=("--prefix",),
    ),
    Situation(
        name="a model under a prefix",
        make=_prefixed,
        knows=HEADS | {"--prefix": "net.vit."},
        names=("--prefix",),
    ),
    Situation(
        name="a folder of two files",
        make=_two_files,
        knows=HEADS | {"--weights": "v.pth"},
        names=("--weights",),
    ),
    Situation(
        name="a share beside a resize",
        make=partial(_timm, given=HEADS | {"--crop": "0.875", "--resize": "20"}),
        knows={"--crop": "16"},
        names=("--crop", "--resize"),
    ),
    Situation(
        name="a grid that looks square",
        make=partial(_timm, given={}, img_size=(24, 40)),
        knows=HEADS | {"--trained-size": "24x40"},
        names=("--heads", "--trained-size"),
    ),
    Situation(
        name="a classifier beside a pooler",
        make=lambda folder: _own_head(folder, {}, nn.Linear(24, 5)),
        knows={"--head-from": "classifier", "--outputs": "features"},
        names=("--head-from", "--outputs"),
    ),
    Situation(
        name="a classifier of another name",
        make=lambda folder: _own_head(folder, {"--head-from": "head"}, nn.Linear(24, 5)),
        knows={"--head-from": "classifier"},
        names=("--head-from",),
    ),
    Situation(
        name="a classifier of two layers",
        make=lambda folder: _own_head(
            folder, {"--head-from": "classifier"}, nn.Linear(24, 9), nn.ReLU(), nn.Linear(9, 5)
        ),
        knows={"--outputs": "features"},
        names=("--outputs",),
    ),
    Situation(
        name="an adapter without its base",
        make=partial(_adapter, sizes=None),
        knows={"--base": LORA / "base"},
        names=("--base",),
    ),
    Situation(
        name="an adapter beside a wider base",
        make=partial(_adapter, sizes={"hidden_size": 24}),
        knows={"--base": LORA / "base"},
        names=("--base",),
    ),
    Situation(
        name="an adapter beside a shorter base",
        make=partial(_adapter, sizes={"num_hidden_layers": 1}),
        knows={"--base": LORA / "base"},
        names=("--base",),
    ),
    Situation(
        name="an architecture that config.json contradicts",
        make=partial(_hugging_face, given={"--arch": "timm:vit_tiny_patch16_224"}, files={}),
        names=("--arch",),
    ),
    Situation(
        name="an architecture of another library",
        make=lambda folder: (
            _arch(folder)[0],
            {"--weights": folder / "w.pth", "--arch": "timm:vit_tiny_patch16_224"},
        ),
        knows=HEADS | {"--arch": "transformers:ViTForImageClassification"},
        names=("--arch",),
    ),
    Situation(name="heads of a width", make=_arch, knows=HEADS, names=("--heads",)),
    Situation(
        name="a check without an architecture",
        make=partial(_published, given={"--check": "require"}),
        knows={"--arch": "timm:test_vit"},
        names=("--arch",),
    ),
    Situation(
        name="a check of a classifier that the library lacks",
        make=_unnamed_head,
        knows={"--check": "auto", "--head-from": "classifier", "--outputs": "features"},
    ),
    Situation(
        name="a check of what no library builds",
        make=partial(_ours, given={"--model": "mine.toml", "--check": "require"}),
        names=("--check",),
    ),
    Situation(
        name="a problem type of features",
        make=partial(_timm, given=HEADS | {"--problem-type": "regression"}, num_classes=0),
        names=("--problem-type",),
    ),
    Situation(
        name="one class of one",
        make=partial(_timm, given=HEADS | {"--problem-type": "single_label"}, num_classes=1),
        knows={"--problem-type": "multi_label"},
        names=("--problem-type",),
    ),
    Situation(
        name="an unknown problem type",
        make=partial(_hugging_face, given={}, files={"config.json": {"problem_type": "ranking"}}),
        knows={"--problem-type": "single_label"},
        names=("--problem-type",),
    ),
    Situation(
        name="hints without a checkpoint",
        make=lambda folder: (_timm(folder, {})[0], dict(HEADS)),
        knows={"--weights": "w.pth"},
        names=("--weights",),
    ),
    Situation(
        name="strict",
        make=partial(_published, given={"--strict": True}),
        knows={
            "--activation": "gelu",
            "--pool": "token",
            "--norm-eps": 1e-6,
            "--trained-size": "160x160",
            "--arch": "timm:test_vit",
            **STEPS,
            "--resize": "248",
        },
    ),
)
