"""Each `Fix:` that names an option works when it is followed to the letter."""

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fix_cases import SITUATIONS, Request, Situation
from support import FASHION
from torch import nn

from vit_export import RequestError
from vit_export.backends.open import open_artifact, read_manifest
from vit_export.checkpoints import load as load_module
from vit_export.checkpoints.from_manifest import rebuild_vit
from vit_export.checkpoints.hints import CheckpointHints
from vit_export.checkpoints.infer_positions import infer_positions
from vit_export.checkpoints.load import load
from vit_export.checkpoints.overrides import ModelOverrides, PreprocessingOverrides
from vit_export.cli import cli
from vit_export.model.model import Model
from vit_export.model.output_names import parse_output_names
from vit_export.validation.reading import check_reading

STEPS = 3
"""Most refusals on the way to an answer."""
OPTION = r"--[a-z][a-z-]+"
OVERRIDES = ("image_size", "classes", "outputs", "labels")
STEP_OPTIONS = ("mean", "std", "resize", "crop", "interpolation")
HINTS = tuple(CheckpointHints.__dataclass_fields__)
PATHS = {"--weights", "--model", "--labels", "--base"}
"""Options whose values are files of the test's folder."""
CHECKPOINTS = Path(load_module.__file__).parent


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
@torch.no_grad()
def test_a_fix_works_to_the_letter(tmp_path, situation: Situation):
    oracle, request = situation.make(tmp_path)
    with pytest.raises(RequestError) as refusal:
        attempt(request, tmp_path)
    assert set(situation.names) <= set(re.findall(OPTION, refusal.value.fix)), refusal.value
    follow(request, situation, oracle, tmp_path, STEPS)


def follow(
    request: Request, situation: Situation, oracle: nn.Module | None, folder: Path, steps: int
) -> None:
    """Follow each alternative that a refusal offers, until the request is answered."""
    answer = attempt_or_refuse(request, folder)
    if isinstance(answer, RequestError):
        assert steps, f"after {STEPS} steps: {answer}"
        ways = [way for part in split(answer.fix) if (way := obey(part, request, situation))]
        assert ways, f"no option to follow: {answer}"
        for way in ways:
            assert way != request, f"the request has this already: {answer}"
            follow(way, situation, oracle, folder, steps - 1)
    elif oracle is not None and "--image-size" not in request and answer.signature.classifies:
        images = torch.randn(2, *answer.signature.image_shape)
        theirs = oracle(images)
        logits = getattr(theirs, "logits", theirs)
        torch.testing.assert_close(answer.vit(images), logits, rtol=1e-4, atol=1e-4)


def attempt_or_refuse(request: Request, folder: Path) -> Model | RequestError:
    try:
        return attempt(request, folder)
    except RequestError as refusal:
        return refusal


def split(fix: str) -> list[str]:
    """The alternatives of a fix."""
    return re.split(rf"[,;]? or (?=(?:leave|give)?[^.]*{OPTION})", fix)


def obey(part: str, request: Request, situation: Situation) -> Request:
    """The request after one alternative; empty if the user can't follow it."""
    leave = re.search(r"\bleave (.*) out\b", part)
    dropped = re.findall(OPTION, leave[1]) if leave else []
    kept = {name: value for name, value in request.items() if name not in dropped}
    options = [one for one in re.findall(OPTION, part) if one not in dropped]
    if not situation.knows.keys() >= {*options} or not (options or dropped):
        return {}
    return kept | {one: choose(situation.knows[one], request.get(one)) for one in options}


def choose(values: object, refused: object) -> object:
    """The value of an option, and another one than that which was refused."""
    choices = values if isinstance(values, tuple) else (values,)
    return next((value for value in choices if value != refused), refused)


def attempt(request: Request, folder: Path) -> Model:
    """The model of a request, whose options have the names of the command line."""
    options = [word for one in cli.commands["onnx"].params for word in one.opts]
    assert request.keys() <= {*options}, request
    values = {
        name.removeprefix("--").replace("-", "_"): locate(name, value, folder)
        for name, value in request.items()
    }
    overrides = {name: values[name] for name in OVERRIDES if name in values}
    if "outputs" in overrides:
        overrides["outputs"] = parse_output_names(overrides["outputs"])
    steps = {name: values[name] for name in STEP_OPTIONS if name in values}
    return load(
        values.get("model"),
        weights=values.get("weights"),
        hints=CheckpointHints(**{name: values[name] for name in HINTS if name in values}),
        overrides=replace(
            ModelOverrides(**overrides), preprocessing=PreprocessingOverrides.parse(**steps)
        ),
        check=values.get("check", "auto"),
        check_reading=check_reading if "check" in values else None,
    )


def locate(name: str, value: object, folder: Path) -> object:
    return folder / value if name in PATHS and (folder / str(value)).exists() else value


def test_an_artifact_that_does_not_name_its_weights(fashion):
    path = fashion.path["onnx"]
    manifest = replace(
        read_manifest(open_artifact(path), path), model="mine", weights_from="mine.pth"
    )
    with pytest.raises(RequestError) as refusal:
        rebuild_vit(manifest, None)
    assert "give --weights: it was made of mine.pth" in refusal.value.fix
    assert rebuild_vit(manifest, FASHION / "fashion_mnist.safetensors").spec.classes == 10


def test_computed_positions_that_show_no_size():
    with pytest.raises(RequestError) as refusal:
        infer_positions({}, {}, {}, "it")
    assert "give --trained-size" in refusal.value.fix
    hints = CheckpointHints(trained_size="16x24").spec_fields()
    assert infer_positions({}, {}, hints, "it")["image_size"] == (16, 24)


@torch.no_grad()
def test_each_fix_of_a_reader_is_followed(tmp_path, monkeypatch):
    """A new refusal that names an option has to join the table."""
    sites = {  # of the tests above, and of those of modules
        (str(CHECKPOINTS / "from_manifest.py"), "_load_trained"),
        (str(CHECKPOINTS / "infer_positions.py"), "_choose_size"),
        (str(CHECKPOINTS / "apply_overrides.py"), "_check_takes_images"),
        (str(CHECKPOINTS / "rebuild.py"), "check_code"),
    }
    plain = RequestError.__init__

    def record(error: RequestError, message: str, fix: str) -> None:
        code = sys._getframe(1).f_code  # noqa: SLF001 whoever makes the error
        sites.add((code.co_filename, code.co_name))
        plain(error, message, fix)

    monkeypatch.setattr(RequestError, "__init__", record)
    for index, situation in enumerate(SITUATIONS):
        folder = tmp_path / str(index)
        folder.mkdir()
        follow(situation.make(folder)[1], situation, None, folder, STEPS)
    missing = [
        f"{path.relative_to(CHECKPOINTS)}: {function.name}"
        for path in sorted(CHECKPOINTS.rglob("*.py"))
        if path.parent != CHECKPOINTS / "module"  # tests/test_modules.py follows those
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        if names_an_option(function) and (str(path), function.name) not in sites
    ]
    assert not missing, f"no situation of tests/fix_cases.py raises the refusals of {missing}"


def names_an_option(function: ast.FunctionDef) -> bool:
    """Whether a refusal of this function names an option."""
    calls = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RequestError"
    ]
    return any(re.search(OPTION, ast.unparse(call.args[-1])) for call in calls if call.args)
