"""Writes the transcripts of docs/checkpoints.md, one per checkpoint family, and that of README.md.

    python scripts/docs_families.py            # writes them (three minutes)
    python scripts/docs_families.py --check    # fails when they are out of date

Each checkpoint is made by the library it belongs to, small and with random weights; where the
library can't run beside the CPU build of torch, tests/foreign_names.py names the tensors.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import timm_models  # noqa: E402 after tests/ is on the path
import transformers  # noqa: E402 as above
from docs_regions import Region  # noqa: E402 as above
from foreign_names import as_dinov2, as_openai, as_torchvision  # noqa: E402 as above
from seed_vit import ViT as SeedVit  # noqa: E402 as above

from vit_export import VitSpec  # noqa: E402 as above
from vit_export.model.vit.state import random_vit  # noqa: E402 as above

HUGGING_FACE = {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 4}
TINY = {"width": 192, "heads": 3, "depth": 4}


@dataclass(frozen=True)
class Example:
    """One checkpoint and what is typed to export it."""

    family: str
    make: Callable[[Path], object]
    """Writes the checkpoint into a folder."""
    request: str


def saved_pth(name: str, make: Callable[[], dict[str, torch.Tensor]]) -> Callable[[Path], object]:
    """A file as `torch.save(model.state_dict(), name)` writes it."""
    return lambda folder: torch.save(make(), folder / name)


def saved_folder(name: str, make: Callable[[], torch.nn.Module]) -> Callable[[Path], object]:
    """A folder as `model.save_pretrained(name)` writes it."""
    return lambda folder: make().save_pretrained(folder / name)


def seed() -> dict[str, torch.Tensor]:
    """The ViT of the seed document."""
    return SeedVit(emb_size=192, depth=4, num_heads=3, n_classes=10).state_dict()


def fine_tuned(folder: Path, name: str = "flowers") -> None:
    """A classifier of five flowers with its processor, as after fine-tuning."""
    flowers = ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    config = transformers.ViTConfig(
        **HUGGING_FACE, intermediate_size=768, id2label=dict(enumerate(flowers))
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder / name)
    transformers.ViTImageProcessorPil().save_pretrained(folder / name)


def timm_folder(folder: Path) -> None:
    """What `timm.models.save_for_hf` writes, or a download of a timm model holds."""
    model = timm_models.create_model("deit3_small_patch16_224", num_classes=10, depth=4)
    timm_models.save_for_hf(model, folder / "deit3", safe_serialization=True)


def timm_distilled() -> dict[str, torch.Tensor]:
    """Timm's DeiT with two heads, which are averaged."""
    name = "deit_tiny_distilled_patch16_224"
    return timm_models.create_model(name, num_classes=10, depth=4).state_dict()


def timm_siglip(folder: Path) -> None:
    """Timm's SigLIP tower, which pools by attention."""
    model = timm_models.create_model("vit_base_patch16_siglip_224", num_classes=0, depth=2)
    timm_models.save_for_hf(model, folder / "siglip", safe_serialization=True)


def ours(**changes: object) -> dict[str, torch.Tensor]:
    """Tensors under our names, to be named by hand."""
    return dict(random_vit(VitSpec(**TINY | changes), 0).state_dict())


def timm_clip() -> dict[str, torch.Tensor]:
    """Timm's CLIP tower: the activation is in its code, not in its tensors."""
    model = timm_models.create_model("vit_xsmall_patch16_clip_224", num_classes=0, depth=4)
    return model.state_dict()


EXAMPLES = [
    Example("the seed document's einops ViT", saved_pth("seed.pth", seed), "seed.pth --heads 3"),
    Example("timm, a folder with its config.json", timm_folder, "deit3"),
    Example(
        "timm's CLIP tower, a bare state dict",
        saved_pth("clip.pth", timm_clip),
        "clip.pth --heads 4 --activation gelu",
    ),
    Example(
        "timm's DeiT distilled, a bare state dict",
        saved_pth("deit.pth", timm_distilled),
        "deit.pth --heads 3",
    ),
    Example("timm's SigLIP, a folder with its config.json", timm_siglip, "siglip"),
    Example("Hugging Face ViT, fine-tuned for five classes", fine_tuned, "flowers"),
    Example(
        "Hugging Face DINOv2 at another resolution, all tokens",
        saved_folder(
            "dinov2",
            lambda: transformers.Dinov2Model(transformers.Dinov2Config(**HUGGING_FACE)),
        ),
        "dinov2 --image-size 280x224 --outputs tokens",
    ),
    Example(
        "Hugging Face DINOv2 with registers",
        saved_folder(
            "dinov2-reg",
            lambda: transformers.Dinov2WithRegistersModel(
                transformers.Dinov2WithRegistersConfig(**HUGGING_FACE)
            ),
        ),
        "dinov2-reg",
    ),
    Example(
        "Hugging Face CLIP with its projection",
        saved_folder(
            "clip",
            lambda: transformers.CLIPVisionModelWithProjection(
                transformers.CLIPVisionConfig(**HUGGING_FACE, intermediate_size=768)
            ),
        ),
        "clip",
    ),
    Example(
        "Hugging Face SigLIP",
        saved_folder(
            "siglip",
            lambda: transformers.SiglipVisionModel(
                transformers.SiglipVisionConfig(**HUGGING_FACE, intermediate_size=768)
            ),
        ),
        "siglip",
    ),
    Example(
        "torchvision",
        saved_pth("vit_b_16.pth", lambda: as_torchvision(ours(width=768, heads=12, classes=1000))),
        "vit_b_16.pth",
    ),
    Example(
        "OpenAI CLIP's image tower",
        saved_pth(
            "openai_clip.pth",
            lambda: as_openai(ours(norm_before_blocks=True, projection=512, patch_bias=False)),
        ),
        "openai_clip.pth --heads 3 --activation quick_gelu",
    ),
    Example(
        "original DINOv2 with registers",
        saved_pth(
            "dinov2_vits14_reg4.pth",
            lambda: as_dinov2(
                ours(
                    patch_size=14,
                    register_tokens=4,
                    layer_scale=True,
                    positions="no_registers",
                )
            ),
        ),
        "dinov2_vits14_reg4.pth --heads 3",
    ),
]


OWN = [
    "vit-export onnx --weights my_vit/ --out my_vit.onnx",
    "vit-export predict my_vit.onnx photo.png",
]
"""What README.md does with a checkpoint of one's own."""
PHOTO = ROOT / "vit_export" / "data" / "photos" / "cat.png"


def family_transcript(example: Example) -> str:
    """The command and the end of its output: the verdict, the file, what was left out."""
    torch.manual_seed(0)
    command = f"vit-export onnx --weights {example.request} --out vit.onnx"
    with tempfile.TemporaryDirectory() as folder:
        example.make(Path(folder))
        output = terminal_output(f"{command} --quiet", Path(folder))
    return f"# {example.family}\n$ {command}\n{from_the_verdict(output)}"


def own_transcript() -> str:
    """The commands of OWN; of their output, what stands from a verdict on."""
    torch.manual_seed(0)
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fine_tuned(folder, "my_vit")
        shutil.copy(PHOTO, folder / "photo.png")
        for command in OWN:
            lines += [f"$ {command}", "…", from_the_verdict(terminal_output(command, folder))]
    return "\n".join(line for line in lines if line)


def terminal_output(command: str, folder: Path) -> str:
    """What `command` prints on stdout in `folder`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command.split(),
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout


def from_the_verdict(output: str) -> str:
    """The lines of `output` from the verdict on; nothing, where there is no verdict."""
    lines = output.splitlines()
    return "\n".join(dropwhile(lambda line: not line.startswith("PROVEN"), lines))


def main() -> None:
    """Writes the transcripts, or compares them."""
    transformers.logging.disable_progress_bar()
    families = "\n\n".join(map(family_transcript, EXAMPLES))
    for page, name, text in (
        ("README.md", "checkpoint", own_transcript()),
        ("docs/checkpoints.md", "families", families),
    ):
        region = Region(page, name, "scripts/docs_families.py")
        region.write_or_check(f"```console\n{text}\n```")


if __name__ == "__main__":
    main()
