"""Where a file that another tool wrote leaves the model: the first module whose numbers it lacks.

Its nodes have names of their own, so that the numbers alone say which values are which.
"""

from pathlib import Path

import torch

from vit_export.backends.open import require_values
from vit_export.core.numerics import Array
from vit_export.model.lower import lower
from vit_export.model.model import Model
from vit_export.model.program.answer import TensorAnswer
from vit_export.model.program.lowered import LoweredProgram
from vit_export.model.program.values import ANSWER, ProgramValues
from vit_export.validation.match_values import match_values
from vit_export.validation.module_taps import WRAPPER, to_rows


def describe_departure(path: Path, model: Model, sample: Array, threads: int | None) -> str:
    """Return a sentence that names the last module that a file computes, and the first it does not.

    It is empty if the file has the numbers of every module.

    Args:
        path: the file, in fp32.
        model: the eager model.
        sample: one input, (C, H, W) of an image.
        threads: threads of the runtime; None for its default.
    """
    outputs = _record(model, sample)
    matches = match_values(outputs, require_values(path)(path, None, threads), sample)
    names = list(outputs)
    last = max((names.index(name) for name in matches), default=-1)
    if last == len(names) - 1:
        return ""
    if last < 0:
        return f"no value in it is what {names[0]} answers, the model's first module"
    return f"it computes what {names[last]} answers, and not what {names[last + 1]} answers"


def _record(model: Model, sample: Array) -> dict[str, Array]:
    """Return the outputs of a model's modules by name, (rows, D) each, in running order."""
    if model.spec is not None:
        from vit_export.model.vit.taps import record_fp32_taps

        return record_fp32_taps(model.vit, sample)
    lowered = lower(model, batch_size=1)
    if not isinstance(lowered, LoweredProgram):
        raise TypeError(f"{model.name} is a known Vision Transformer.")
    with torch.no_grad():
        values = ProgramValues(lowered.program).record(torch.from_numpy(sample[None]))
    wrapper = WRAPPER if isinstance(model.module, TensorAnswer) else ""
    return {
        name.removeprefix(f"{wrapper}.") if wrapper else name: to_rows(one.numpy())
        for name, one in values.items()
        if not name.startswith(ANSWER) and name != wrapper
    }
