"""Writes the transcripts of docs/checkpoints.md, one per checkpoint family, and that of README.md.

    python scripts/docs_families.py            # writes them (three minutes)
    python scripts/docs_families.py --check    # fails when they are out of date

The library of each family makes its checkpoint, small and with random weights, and judges how it is
read. If the library can't run beside the CPU build of torch, tests/foreign_names.py names the
tensors; timm gets a stand-in for torchvision (tests/timm_models.py).
"""

import os
import re
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
JUDGED = "--check require"
"""The option that makes a missing library an error; in the documentation none is missing."""


@dataclass(frozen=True)
class Example:
    """One checkpoint and the arguments of the command that exports it."""

    family: str
    make: Callable[[Path], object]
    """Writes the checkpoint into a folder."""
    request: str


def pth_writer(name: str, make: Callable[[], dict[str, torch.Tensor]]) -> Callable[[Path], object]:
    """Return a function that writes a file as `torch.save(model.state_dict(), name)` does."""
    return lambda folder: torch.save(make(), folder / name)


def folder_writer(name: str, make: Callable[[], torch.nn.Module]) -> Callable[[Path], object]:
    """Return a function that writes a folder as `model.save_pretrained(name)` does."""
    return lambda folder: make().save_pretrained(folder / name)


def make_seed() -> dict[str, torch.Tensor]:
    """Return the state dict of the seed document's ViT."""
    return SeedVit(emb_size=192, depth=4, num_heads=3, n_classes=10).state_dict()


def write_fine_tuned(folder: Path, name: str = "flowers") -> None:
    """Write a classifier of five flowers with its processor, as after fine-tuning."""
    flowers = ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    config = transformers.ViTConfig(
        **HUGGING_FACE, intermediate_size=768, id2label=dict(enumerate(flowers))
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder / name)
    transformers.ViTImageProcessorPil().save_pretrained(folder / name)


def write_timm_folder(folder: Path) -> None:
    """Write what `timm.models.save_for_hf` writes, and a download of a timm model contains."""
    model = timm_models.create_model("deit3_small_patch16_224", num_classes=10, depth=4)
    timm_models.save_for_hf(model, folder / "deit3", safe_serialization=True)


def make_timm_distilled() -> dict[str, torch.Tensor]:
    """Return the state dict of timm's DeiT with two heads, which are averaged."""
    name = "deit_tiny_distilled_patch16_224"
    return timm_models.create_model(name, num_classes=10).state_dict()


def write_timm_siglip(folder: Path) -> None:
    """Write timm's SigLIP tower, which pools by attention."""
    model = timm_models.create_model("vit_base_patch16_siglip_224", num_classes=0, depth=2)
    timm_models.save_for_hf(model, folder / "siglip", safe_serialization=True)


def make_tensors(**changes: object) -> dict[str, torch.Tensor]:
    """Return tensors under our names, for a function that renames them."""
    return dict(random_vit(VitSpec(**TINY | changes), 0).state_dict())


def make_timm_clip() -> dict[str, torch.Tensor]:
    """Return the state dict of timm's CLIP tower, whose activation is only in timm's code."""
    model = timm_models.create_model("vit_xsmall_patch16_clip_224", num_classes=0, depth=4)
    return model.state_dict()


EXAMPLES = [
    Example(
        "the seed document's einops ViT", pth_writer("seed.pth", make_seed), "seed.pth --heads 3"
    ),
    Example("timm, a folder with its config.json", write_timm_folder, f"deit3 {JUDGED}"),
    Example(
        "timm's CLIP tower, a bare state dict",
        pth_writer("clip.pth", make_timm_clip),
        "clip.pth --heads 4 --activation gelu",
    ),
    Example(
        "timm's DeiT distilled, a bare state dict",
        pth_writer("deit.pth", make_timm_distilled),
        f"deit.pth --arch timm:deit_tiny_distilled_patch16_224 {JUDGED}",
    ),
    Example("timm's SigLIP, a folder with its config.json", write_timm_siglip, f"siglip {JUDGED}"),
    Example("Hugging Face ViT, fine-tuned for five classes", write_fine_tuned, f"flowers {JUDGED}"),
    Example(
        "Hugging Face DINOv2 at another resolution, all tokens",
        folder_writer(
            "dinov2",
            lambda: transformers.Dinov2Model(transformers.Dinov2Config(**HUGGING_FACE)),
        ),
        f"dinov2 --image-size 280x224 --outputs tokens {JUDGED}",
    ),
    Example(
        "Hugging Face DINOv2 with registers",
        folder_writer(
            "dinov2-reg",
            lambda: transformers.Dinov2WithRegistersModel(
                transformers.Dinov2WithRegistersConfig(**HUGGING_FACE)
            ),
        ),
        f"dinov2-reg {JUDGED}",
    ),
    Example(
        "Hugging Face CLIP with its projection",
        folder_writer(
            "clip",
            lambda: transformers.CLIPVisionModelWithProjection(
                transformers.CLIPVisionConfig(**HUGGING_FACE, intermediate_size=768)
            ),
        ),
        f"clip {JUDGED}",
    ),
    Example(
        "Hugging Face SigLIP",
        folder_writer(
            "siglip",
            lambda: transformers.SiglipVisionModel(
                transformers.SiglipVisionConfig(**HUGGING_FACE, intermediate_size=768)
            ),
        ),
        f"siglip {JUDGED}",
    ),
    Example(
        "torchvision, of fewer layers than vit_b_16",
        pth_writer(
            "torchvision.pth",
            lambda: as_torchvision(make_tensors(width=768, heads=12, classes=1000)),
        ),
        "torchvision.pth --heads 12",
    ),
    Example(
        "OpenAI CLIP's image tower",
        pth_writer(
            "openai_clip.pth",
            lambda: as_openai(
                make_tensors(norm_before_blocks=True, projection=512, patch_bias=False)
            ),
        ),
        "openai_clip.pth --heads 3 --activation quick_gelu --pool token",
    ),
    Example(
        "original DINOv2 with registers",
        pth_writer(
            "dinov2_vits14_reg4.pth",
            lambda: as_dinov2(
                make_tensors(
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


OWN_CHECKPOINT_COMMANDS = [
    "vit-export onnx --weights my_vit/ --out my_vit.onnx",
    "vit-export predict my_vit.onnx photo.png",
]
"""The commands of README.md for the user's own checkpoint."""
COMMAND = "import timm_models; from vit_export.cli import main; main()"
"""The command `vit-export` of a machine where timm imports."""
CPU = "x86-64 AVX-512 VNNI"
PHOTO = ROOT / "vit_export" / "data" / "photos" / "cat.png"


def transcribe_family(example: Example) -> str:
    """Return the command and the end of its output: the verdict, the file, unused tensors."""
    torch.manual_seed(0)
    command = f"vit-export onnx --weights {example.request} --out vit.onnx"
    with tempfile.TemporaryDirectory() as folder:
        example.make(Path(folder))
        output = run_command(f"{command} --quiet", Path(folder))
    return f"# {example.family}\n$ {command}\n{cut_before_verdict(output)}"


def transcribe_own_checkpoint() -> str:
    """Return `OWN_CHECKPOINT_COMMANDS`, each with its output from the verdict on."""
    torch.manual_seed(0)
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fine_tuned(folder, "my_vit")
        shutil.copy(PHOTO, folder / "photo.png")
        for command in OWN_CHECKPOINT_COMMANDS:
            lines += [f"$ {command}", "…", cut_before_verdict(run_command(command, folder))]
    return "\n".join(line for line in lines if line)


def run_command(command: str, folder: Path) -> str:
    """Return what `command` prints to stdout in `folder`."""
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, *command.split()[1:]],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        sys.exit(f"{command}: {process.stderr}")
    return process.stdout


def cut_before_verdict(output: str) -> str:
    """Return the lines of `output` from the verdict on; empty if there is no verdict.

    The verdict names `CPU`, so that the pages do not depend on the machine that writes them.
    """
    lines = re.sub(r"\(CPU, [^)]*\)", f"(CPU, {CPU})", output).splitlines()
    return "\n".join(dropwhile(lambda line: not line.startswith("PROVEN"), lines))


def main() -> None:
    """Write the transcripts, or compare them."""
    transformers.logging.disable_progress_bar()
    families = "\n\n".join(map(transcribe_family, EXAMPLES))
    for page, name, text in (
        ("README.md", "checkpoint", transcribe_own_checkpoint()),
        ("docs/checkpoints.md", "families", families),
    ):
        region = Region(page, name, "scripts/docs_families.py")
        region.write_or_check(f"```console\n{text}\n```")


if __name__ == "__main__":
    main()
