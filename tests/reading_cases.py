"""Cases of the sweep `reading`: a library's model, what it was saved as, and how it was read.

A case builds a small model of a library with random weights, saves it, lets `load` read it, and
compares the answers in fp64, where an epsilon or another GELU can't hide in rounding.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vit_export import RequestError
from vit_export.checkpoints.apply_overrides import apply_overrides
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides
from vit_export.model.model import Model

FALSE_OF_A_WHOLE_CHECKPOINT = (
    r"whole checkpoint",
    r"lost tensors",
    r"copy (it|them|the files) again",
    r"cut off|damaged",
    r"its own config\.json|their own config\.json",
    r"before (it|they) (was|were) quantized",
    r"--module",
    r"\bNone\b|object has no attribute|\w+Error\(",
)
"""What no refusal may say of these files, which are whole and lie beside their own config.json."""
STEPS = 3
"""Most questions that a user answers for one checkpoint."""
OPTION = r"--[a-z][a-z-]+"
FIELDS = {
    "--heads": "heads",
    "--activation": "activation",
    "--pool": "pool",
    "--norm-eps": "norm_eps",
    "--trained-size": "trained_size",
    "--arch": "arch",
}
"""Options that may be asked for, and their fields of CheckpointHints."""
TOLERANCE = 2e-6
"""Share of the largest answer; `transformers` takes the softmax in fp32."""

Answers = Mapping[str, Sequence[Tensor]]
"""What the library answers, by answer of ours; more than one where it names several."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A library's model with the facts that its user knows."""

    module: nn.Module
    images: Tensor
    answer: Callable[[nn.Module, Tensor], Answers]
    """Answers to images, with `default` for the model's own output."""
    truth: Mapping[str, Any] = field(default_factory=dict)
    """Values of CheckpointHints; the user gives those that are asked for."""
    problem_type: str = "single_label"
    plain: bool = False
    """Whether its folder has to be read, because it has nothing but the parts of a plain ViT."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way of saving one model."""

    library: str
    family: str
    form: str
    """`bare`, `arch` (bare with --arch) or `folder`."""
    name: str
    build: Callable[[], Example | None]
    """None: the library itself refuses to build it."""
    save: Callable[[nn.Module, Path], Path]
    hints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.library}-{self.form}-{self.family}-{self.name}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`right`, `asked`, `refused`, `assumed`, `wrong` or `impossible`, with the words for it."""

    kind: str
    text: str = ""


@torch.no_grad()
def judge(case: Case, folder: Path) -> Outcome:
    """What became of a case."""
    example = case.build()
    if example is None:
        return Outcome(kind="impossible")
    path = case.save(example.module, folder)
    try:
        model, questions = read(path, dict(case.hints), example.truth)
    except RequestError as refusal:
        return explain(refusal, example, case)
    difference = compare(model, example)
    if not difference:
        return Outcome(kind="right", text=questions)
    truth = {**example.truth, "problem_type": example.problem_type}
    false = {k: v for k, v in model.assumed.items() if truth.get(k, v) != v}
    if false and case.form != "folder":
        return Outcome(kind="assumed", text=f"{', '.join(false)}: {difference}")
    return Outcome(kind="wrong", text=f"{difference}; assumed {dict(model.assumed)}")


def read(path: Path, hints: dict[str, Any], truth: Mapping[str, Any]) -> tuple[Model, str]:
    """The model, and the options that were asked for; they are given as a user gives them."""
    questions: list[str] = []
    for _ in range(STEPS):
        try:
            return load(weights=path, hints=CheckpointHints(**hints)), " ".join(questions)
        except RequestError as refusal:
            check_words(refusal)
            known = {option: FIELDS.get(option) for option in list_options(refusal)}
            new = {
                option: name
                for option, name in known.items()
                if name in truth and name not in hints and name is not None
            }
            if not new:
                raise
            questions += new
            hints |= {name: truth[name] for name in new.values()}
    return load(weights=path, hints=CheckpointHints(**hints)), " ".join(questions)


def list_options(refusal: RequestError) -> list[str]:
    """The options that a refusal names, in its own order."""
    return list(dict.fromkeys(re.findall(OPTION, f"{refusal.fix}")))


def check_words(refusal: RequestError) -> None:
    text = f"{refusal.message} {refusal.fix}"
    for pattern in FALSE_OF_A_WHOLE_CHECKPOINT:
        found = re.search(pattern, text)
        if found:
            raise AssertionError(f"{found[0]!r} is not true here: {text}")


def explain(refusal: RequestError, example: Example, case: Case) -> Outcome:
    check_words(refusal)
    text = re.sub(r"\S*/\S*/", "", f"{refusal.message} Fix: {refusal.fix}")
    if example.plain and case.form != "bare":
        return Outcome(kind="wrong", text=f"a plain ViT is refused: {text}")
    asks = any(option in FIELDS for option in list_options(refusal))
    return Outcome(kind="asked" if asks else "refused", text=text)


def compare(model: Model, example: Example) -> str:
    """Where our answers differ from the library's; empty if they are equal within rounding."""
    images = example.images
    if tuple(images.shape[1:]) != model.signature.image_shape:
        return f"images of {model.signature.image_shape}, not of {tuple(images.shape[1:])}"
    if model.signature.classifies and model.problem_type != example.problem_type:
        return f"problem_type is {model.problem_type}, not {example.problem_type}"
    theirs = example.answer(deepcopy(example.module).double(), images.double())
    for outputs, candidates in theirs.items():
        try:
            ours = model if outputs == "default" else change(model, outputs)
        except RequestError as refusal:
            check_words(refusal)
            continue
        difference = measure(deepcopy(ours.vit).double()(images.double()), candidates)
        if difference:
            return f"{outputs}: {difference}"
    return ""


def change(model: Model, outputs: Any) -> Model:
    unlabelled = replace(model, labels=())
    return apply_overrides(unlabelled, ModelOverrides(outputs=outputs))


def measure(ours: Tensor, candidates: Sequence[Tensor]) -> str:
    same = [theirs for theirs in candidates if theirs.shape == ours.shape]
    if not same:
        return f"shape {tuple(ours.shape)}, not {[tuple(one.shape) for one in candidates]}"
    differences = [float((ours - theirs).abs().max() / theirs.abs().max()) for theirs in same]
    closest = min(differences)
    return "" if closest <= TOLERANCE else f"{closest:.2g} of the largest value"


def draw(module: nn.Module) -> nn.Module:
    """Draw every parameter: a neutral initial value hides mistakes, and so do large embeddings."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            is_bias = name.endswith("bias")
            nn.init.normal_(parameter, mean=0.0 if is_bias else 1.0, std=0.1 if is_bias else 0.2)
        elif re.search(r"embed|token|patch|conv_proj|probe|latent", name):
            nn.init.normal_(parameter, std=0.3 / parameter[0].numel() ** 0.5)
        else:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return module.eval()


def draw_images(channels: int, height: int, width: int) -> Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(1))


def save_state_dict(module: nn.Module, folder: Path) -> Path:
    path = folder / "weights.pth"
    torch.save(module.state_dict(), path)
    return path
