"""What stands in for objects that training scripts save beside the tensors.

A training script saves its arguments, its configuration, numpy numbers and dates with the weights.
None of them says what the model computes. So torch's reader gets an object without any behaviour in
place of each, and neither imports nor calls what the file names. A class that is not on the list is
refused: it may be the model itself.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Self

PLAIN = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace"
    r"|pathlib(\.\w+)+|datetime\.\w+|decimal\.Decimal|fractions\.Fraction|uuid\.UUID"
    r"|numpy(\.\w+)+"  # numbers, arrays and their dtypes
    r"|builtins\.(bool|bytes|dict|float|frozenset|int|list|object|range|slice|str|tuple|type)"
    r"|typing\.\w+|functools\.partial|copyreg\._reconstructor|random\.Random"
    r"|torch\.(optim|amp|cuda\.amp|nn\.modules\.loss)(\.\w+)+|torch\.torch_version\.\w+"
    r"|transformers\.(training_args|trainer_utils|trainer_pt_utils)\.\w+"
)
"""Names of classes and functions whose objects become `StandIn`."""
MAPPINGS = re.compile(
    r"collections\.defaultdict"
    r"|(omegaconf|yacs|addict|easydict|munch|ml_collections|mmengine|mmcv)(\.\w+)+"
    r"|(lightning|pytorch_lightning|lightning_fabric|lightning_utilities|torchmetrics)(\.\w+)+"
)
"""Names of classes whose objects may be filled as dictionaries are, so that they become one."""
SEQUENCES = re.compile(r"collections\.deque")
"""Names of classes whose objects are filled as lists are."""
LOCK = Lock()
"""Held while torch knows the stand-ins, since its list is one for the whole process."""


class StandIn:
    """An object of a class that stays unknown: it ignores its arguments and its state."""

    def __new__(cls, *_: Any) -> Self:
        """Return an object, whatever the arguments."""
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        """Ignore the state."""


class MappingStandIn:
    """Makes a plain dictionary in place of an object, which torch's reader can fill."""

    def __new__(cls, *_: Any) -> "OrderedDict[Any, Any]":  # type: ignore[misc]
        """Return an empty dictionary."""
        return OrderedDict()


class SequenceStandIn:
    """Makes a plain list in place of an object, which torch's reader can fill."""

    def __new__(cls, *_: Any) -> list[Any]:  # type: ignore[misc]
        """Return an empty list."""
        return []


STAND_INS = {PLAIN: StandIn, MAPPINGS: MappingStandIn, SEQUENCES: SequenceStandIn}


def find_stand_ins(names: Iterable[str]) -> dict[str, Any]:
    """Return the names of classes and functions that are on the list, with what stands for them."""
    return {
        name: kind
        for name in names
        for pattern, kind in STAND_INS.items()
        if pattern.fullmatch(name)
    }


@contextmanager
def allow(stand_ins: Mapping[str, Any]) -> Iterator[None]:
    """Let torch's `weights_only` reader take a stand-in for each of these names."""
    from torch.serialization import safe_globals

    with LOCK, safe_globals([(kind, name) for name, kind in stand_ins.items()]):
        yield
