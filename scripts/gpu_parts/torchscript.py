"""TorchScript on the device: files made there, the verdict in fp32 and fp16, tampered files."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gpu_parts.context import Context, call
from gpu_parts.folder import Model, measure
from gpu_parts.results import Outcome, Row, attempt
from gpu_parts.sessions import ARITHMETIC, DeviceSession, be_exact
from vit_export.artifact.manifest import Manifest
from vit_export.backends.session import parse_manifest
from vit_export.validation.expectation import Expectation
from vit_export.validation.sample_set import remake_sample_set
from vit_export.validation.tolerances import TOLERANCES
from vit_export.validation.validate import validate_artifact
from vit_export.validation.verdict import Verdict

PRECISIONS = {"fp32": "fp32", "autocast": "fp16", "half": "fp16"}
"""The row of the tolerance table by the arithmetic of a session."""
TAMPERING = {"one weight": 1.0, "one NaN": float("nan")}
"""What is added to one number of a file."""


def make_files(context: Context) -> Iterator[Row]:
    """Make the files that do not travel, from random weights with the SHA-256 of the manifest."""
    for model in context.contents.models:
        if not model.travels:
            yield attempt(model.name, partial(make_file, context, model))


def make_file(context: Context, model: Model) -> Row:
    """Make one file: the eager model from its seed, lowered and traced as by the export."""
    from vit_export.backends.job import Job
    from vit_export.backends.torchscript.backend import build
    from vit_export.checkpoints.from_manifest import rebuild_identical_vit
    from vit_export.core.progress import silent
    from vit_export.model.vit.lowering import lower

    manifest = Manifest.from_json(context.read_manifest_json(model), model.manifest)
    vit = rebuild_identical_vit(manifest, None)  # refuses weights of another SHA-256
    unquantized: Any = None  # a TorchScript file is in fp32 alone
    samples = torch.empty(0).numpy()
    job = Job(lowered=lower(vit), manifest=manifest, plan=unquantized, samples=samples)
    build(job, context.work / model.file, silent)
    is_same = measure(context.work / model.file)[1] == context.contents.made.get(model.name)
    facts = "weights as prepared (SHA-256); the file is " + (
        "the same byte for byte" if is_same else f"another one in torch {torch.__version__}"
    )
    return Row(case=model.name, outcome="ok", facts=facts)


def prove_files(context: Context) -> Iterator[Row]:
    """Yield a verdict on every file on the device: fp32, and fp16 in both ways."""
    be_exact()
    for model in context.contents.models:
        path = context.find_file(model)
        for arithmetic in ARITHMETIC:
            case = f"{model.name}, {arithmetic}"
            if path is None:
                yield Row(case=case, outcome="skipped", facts="the file was not made")
            elif model.preprocesses and arithmetic != "fp32":
                why = "the resize inside is exact in whole numbers that fp16 has not"
                yield Row(case=case, outcome="skipped", facts=why)
            else:
                yield attempt(case, partial(_prove_file, case, path, context.device, arithmetic))
    yield from _prove_with_tf32(context)


def _prove_file(case: str, path: Path, device: str, arithmetic: str) -> Row:
    return _judge(case, prove(path, DeviceSession(path, device, arithmetic)))


def _judge(case: str, verdict: Verdict) -> Row:
    """Return the row of a verdict that has to be PROVEN."""
    least = min((one.snr_db for one in verdict.against_eager), default=0.0)
    sizes = ", ".join(map(str, verdict.batches))
    problems = [*verdict.failures, *(one.problem for one in verdict.against_eager if one.problem)]
    facts = f"{verdict.status} at batch {sizes}, worst {least:.1f} dB, {verdict.runtime}"
    facts += f"; {problems[0]}" if problems else ""
    outcome: Outcome = "ok" if verdict.accepted else "FAILED"
    return Row(case=case, outcome=outcome, facts=facts, numbers={"snr_db": round(least, 2)})


def prove(path: Path, session: DeviceSession) -> Verdict:
    """Return the verdict on a session: every sample at every batch size of the file's manifest."""
    manifest = parse_manifest(session.manifest_json(), path)
    precision = PRECISIONS[session.arithmetic]
    expectation = Expectation.from_manifest(manifest, manifest.reference, TOLERANCES[precision])
    return validate_artifact(
        session,
        path,
        manifest,
        replace(expectation, precision=precision),
        remake_sample_set(manifest).file_inputs,
        source="the file's own answers",
    )


def _prove_with_tf32(context: Context) -> Iterator[Row]:
    """Yield the verdict on a plain file where torch may use TF32 in convolutions, as it starts.

    The program of a file says itself that its convolution does not.
    """
    model = next(one for one in context.contents.models if not one.preprocesses)
    path, case = context.find_file(model), f"{model.name}, fp32, TF32 allowed as torch starts"
    if context.is_dry or path is None:
        yield Row(case=case, outcome="skipped", facts="needs CUDA" if context.is_dry else "no file")
        return
    torch.backends.cudnn.allow_tf32 = True
    row = _judge(case, prove(path, DeviceSession(path, context.device)))
    be_exact()
    yield row


def reject_tampered(context: Context) -> Iterator[Row]:
    """Yield whether files with one changed number are REJECTED, on the device and by `validate`."""
    be_exact()
    model = next(one for one in context.contents.models if one.travels and not one.preprocesses)
    for name, change in TAMPERING.items():
        path = context.work / f"tampered-{model.file}"
        tamper(context.folder / "files" / model.file, path, change)
        verdict = prove(path, DeviceSession(path, context.device))
        facts = f"{verdict.status} by {verdict.runtime}"
        outcome = "FAILED" if verdict.accepted else "ok"
        yield Row(case=f"{name} of {model.name}", outcome=outcome, facts=facts)
        answer = call(context.work, "validate", path, "--json", "--quiet")
        facts = f"exit code {answer.code}: {(answer.document or {}).get('status', answer.sentence)}"
        outcome = "ok" if answer.code == 4 else "FAILED"  # noqa: PLR2004 not the model
        yield Row(case=f"{name} of {model.name}, validate", outcome=outcome, facts=facts)


def tamper(source: Path, target: Path, change: float) -> None:
    """Copy an archive with `change` added to the first number of its largest constant."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        constants = [one for one in archive.infolist() if "/constants/" in one.filename]
        largest = max(constants, key=lambda one: one.file_size)
        for record in archive.infolist():
            content = bytearray(archive.read(record))
            if record.filename == largest.filename:
                numbers = torch.frombuffer(content, dtype=torch.float32)
                numbers[0] += change
            copy.writestr(zipfile.ZipInfo(record.filename), bytes(content))
