"""Programs of torch-tensorrt, with a fake of it: keywords, ranges of batches, refusals, clock."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import tiny_spec

from vit_export.artifact.batch import Batch
from vit_export.artifact.precision import QuantizationRequest
from vit_export.backends.tensorrt import torch_tensorrt
from vit_export.backends.tensorrt.builder_config import BuilderOptions
from vit_export.backends.tensorrt.options import DEFAULTS
from vit_export.backends.tensorrt.program_session import ProgramSession
from vit_export.core.errors import BuildError, RequestError
from vit_export.model.vit.lowering import lower
from vit_export.model.vit.state import random_vit


class TorchTensorrt:
    """torch_tensorrt: it keeps the keywords of compile and of save."""

    def __init__(self, refusal=""):
        self.refusal, self.calls, self.dynamo = refusal, {}, self

    def Input(self, **shapes):  # noqa: N802 its name there
        return shapes

    def compile(self, exported, *, arg_inputs, use_explicit_typing=False, **keywords):
        if self.refusal:
            raise RuntimeError(self.refusal)
        self.calls["compile"] = keywords | {"use_explicit_typing": use_explicit_typing}
        self.calls["inputs"] = arg_inputs
        return exported

    def save(self, _, path, *, output_format, arg_inputs):
        self.calls["save"] = (output_format, arg_inputs)
        Path(path).write_bytes(b"PK")


@pytest.fixture
def build(tmp_path, monkeypatch):
    """`build(library, ...)`: the program of a tiny model."""
    monkeypatch.setattr(torch_tensorrt, "DEVICE", "cpu")
    spec = tiny_spec()

    def build(library, precision="fp16", batch="1:2:4", **options):
        manifest = SimpleNamespace(
            signature=spec.signature, batch=Batch.parse(batch), precision=precision
        )
        job = SimpleNamespace(manifest=manifest, lowered=lower(random_vit(spec, 0)))
        path = tmp_path / "f.engine"
        torch_tensorrt.build_program(job, path, library, BuilderOptions(**options))
        return path

    return build


def test_what_torch_tensorrt_compiles(build):
    library = TorchTensorrt()
    path = build(library, workspace_mb=2, level=4, hardware="ampere-plus")
    assert path.read_bytes() == b"PK"
    keywords = library.calls["compile"]
    assert keywords["use_explicit_typing"]
    assert keywords["disable_tf32"]
    assert keywords["require_full_compilation"]
    assert (keywords["workspace_size"], keywords["optimization_level"]) == (2 * 2**20, 4)
    assert keywords["hardware_compatible"]
    assert keywords["autocast_low_precision_type"] == torch.float16
    assert torch.ops.aten.layer_norm.default in keywords["autocast_excluded_ops"]
    (shapes,) = library.calls["inputs"]
    assert shapes["max_shape"] == (4, 3, 16, 24)
    assert library.calls["save"] == ("exported_program", [shapes])


@pytest.mark.parametrize("text", ["1:1:4", "1:4:4", "2:2:3", "1", "4"])
def test_a_program_takes_every_range_of_batches(build, text):
    """torch.export takes a size of 1 for a constant, and refuses the range then."""
    library = TorchTensorrt()
    build(library, batch=text)
    sizes = [library.calls["inputs"][0][f"{name}_shape"][0] for name in ("min", "opt", "max")]
    batch = Batch.parse(text)
    assert sizes == [batch.min, batch.opt, batch.max]


def test_a_program_in_fp32_has_no_autocast(build):
    library = TorchTensorrt()
    build(library, precision="fp32", batch="2")
    assert "enable_autocast" not in library.calls["compile"]


def test_a_refusal_of_torch_tensorrt_is_reported(build):
    with pytest.raises(BuildError, match="no program: no converter"):
        build(TorchTensorrt("no converter\nfor that"))


def test_a_program_has_one_range_of_batches(build):
    with pytest.raises(RequestError, match="one range of batches"):
        build(TorchTensorrt(), batch="1,4:8:8")


@pytest.mark.parametrize(
    ("request_", "options", "reason"),
    [
        ({"precision": "int8-static"}, {}, "reads no quantized graph, so it has no int8-static"),
        ({"precision": "fp16", "io_fp16": True}, {}, "--io-fp16"),
        ({}, {"hardware": "same-capability"}, "no --hardware same-capability"),
    ],
)
def test_requests_that_torch_tensorrt_cannot_build(request_, options, reason):
    torch_tensorrt.check_request(QuantizationRequest(precision="fp16"), DEFAULTS)
    with pytest.raises(RequestError, match=reason):
        torch_tensorrt.check_request(QuantizationRequest(**request_), {**DEFAULTS, **options})


def test_a_program_is_timed_by_the_clock_of_the_gpu(monkeypatch):
    events = []

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def record(self):
            events.append("record")

        def synchronize(self):
            events.append("synchronize")

        def elapsed_time(self, _):
            return 2.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(ProgramSession, "run", lambda *_: events.append("run"))
    session = object.__new__(ProgramSession)
    assert session.time_ms(np.zeros(1, np.float32)) == 2.5
    assert events == ["record", "run", "record", "synchronize"]


def test_a_module_of_no_known_family_is_refused():
    work = SimpleNamespace(job=SimpleNamespace(manifest=SimpleNamespace(spec=None)))
    with pytest.raises(RequestError, match="known families alone") as error:
        torch_tensorrt.build(work)
    assert error.value.fix == "take --engine tensorrt or --engine rtx."
