"""What a user can do where the library's own model answers something else than what was read."""

from typing import TYPE_CHECKING, Any, get_args

from vit_export.checkpoints.hints import OPTIONS
from vit_export.core.errors import RequestError
from vit_export.model.vit.choices import Pool

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.libraries.base import Judge
    from vit_export.model.model import Model

FIELDS = ("heads", "mlp", "pool", "norm_eps")
"""Fields of the spec that an option sets and a module's attributes show."""
CHOICES = {
    "mlp": ("gelu", "gelu_tanh", "quick_gelu"),
    "pool": get_args(Pool),
}
"""Values that the options take."""

LIVE_FIX = (
    "if you changed its forward, an activation or the pooling, give a spec and the state dict."
)


def advise(judge: "Judge", model: "Model") -> str:
    """Return the options that make the reading equal to the judge, else what is left to do."""
    from vit_export.checkpoints.libraries.building import MISFIT

    facts = _read_facts(judge)
    if judge.is_live:
        return _advise_owner(judge)
    actual = {name: getattr(model.vit.spec, name) for name in FIELDS}
    hints = [name for name in FIELDS if name in model.provenance.overrides]
    wrong = [name for name in hints if facts.get(name) != actual[name]]
    if wrong:
        return f"leave {' and '.join(OPTIONS[name] for name in wrong)} out."
    options = [
        f"{OPTIONS[name]} {facts[name]}"
        for name in FIELDS
        if facts.get(name, actual[name]) != actual[name]
        and (name not in CHOICES or facts[name] in CHOICES[name])
    ]
    if options:
        return f"give {' '.join(options)}, as {judge.name} has it."
    if judge.missing:
        return MISFIT
    return "its architecture is not supported yet; --check off exports what was read all the same."


def _advise_owner(judge: "Judge") -> str:
    """Return what the owner of a module in memory can do."""
    from vit_export.checkpoints.known_module import find_known_module

    path = find_known_module(judge.module).path
    return f"give its part alone: model.get_submodule({path!r})." if path else LIVE_FIX


def _read_facts(judge: "Judge") -> dict[str, Any]:
    """Return what the judge's attributes say; nothing if it has other attributes."""
    from vit_export.checkpoints.families import find_family

    try:
        family = find_family(judge.module.state_dict(), judge.name)
        return family.module_facts(judge.module)
    except (RequestError, AttributeError, LookupError, TypeError, ValueError, StopIteration):
        return {}
