"""Einstein sums as products of matrices: which axes go where, with the fewest moves.

`bhid,bhjd->bhij` is a MatMul over `d` for each of `bh`, whose second operand has to be transposed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile, product

FREE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Letters that stand for the axes of an ellipsis."""

INPUTS = 2
"""Number of inputs of a sum that is a product."""


@dataclass(frozen=True)
class Operand:
    """One factor of a MatMul: its axes in groups, each of which becomes one axis."""

    letters: str
    """Axes as they are."""
    groups: tuple[str, ...]
    """Axes as they have to be; an empty group is an axis of length one."""

    @property
    def order(self) -> str:
        """Axes in the order of the groups."""
        return "".join(self.groups)

    @property
    def moves(self) -> bool:
        """Whether the axes have to change their order."""
        return self.order != self.letters

    @property
    def merges(self) -> bool:
        """Whether axes have to be merged or added."""
        return any(len(group) != 1 for group in self.groups)


@dataclass(frozen=True)
class Plan:
    """An Einstein sum as a MatMul; without `inner` as a Mul."""

    first: Operand
    second: Operand
    swapped: bool
    """Whether `first` is the second input of the sum."""
    inner: str
    """Axes that are summed."""
    result: Operand
    """The product: its groups are its axes, and `letters` the axes of the answer."""


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[str, str, str] | None:
    """Return the axes of both inputs and of the answer, or None if this is no plain product.

    Args:
        equation: as Einsum has it, with an explicit answer.
        ranks: number of axes of both inputs, for an ellipsis.
    """
    inputs, arrow, answer = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or len(terms) != len(ranks) or len(terms) != INPUTS:
        return None
    free = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    first, second = (
        term.replace("...", FREE[26 - count :]) for term, count in zip(terms, free, strict=True)
    )
    most = max((count for term, count in zip(terms, free, strict=True) if "..." in term), default=0)
    answer = answer.replace("...", FREE[26 - most :])
    repeats = any(len(set(term)) != len(term) for term in (first, second, answer))
    alone = set(first) ^ set(second)  # an axis of one input that the answer lacks is a sum
    if repeats or not alone <= set(answer) or not set(answer) <= {*first, *second}:
        return None
    return first, second, answer


def plan_product(first: str, second: str, answer: str, *, constants: tuple[bool, bool]) -> Plan:
    """Return the cheapest way at run time; the axes of a constant are moved beforehand.

    Args:
        first: axes of the first input.
        second: axes of the second input.
        answer: axes of the answer.
        constants: which inputs are constant.
    """
    inner = "".join(axis for axis in first if axis in second and axis not in answer)
    if not inner:
        one, two = (Operand(letters, _pad(answer, letters)) for letters in (first, second))
        return Plan(one, two, False, inner, Operand(answer, tuple(answer)))
    shared = "".join(axis for axis in answer if axis in first and axis in second)
    plans = []
    for swapped in (False, True):
        x, y = (second, first) if swapped else (first, second)
        left = "".join(axis for axis in answer if axis in x and axis not in y)
        right = "".join(axis for axis in answer if axis in y and axis not in x)
        orders = dict.fromkeys((answer, shared + left + right))
        for order, sums in product(orders, sorted({inner, _keep_order(inner, second)})):
            plans += _plans_of_order(x, y, order, answer, sums, swapped=swapped)
    return min(plans, key=lambda plan: _cost(plan, constants))


def _plans_of_order(
    x: str, y: str, order: str, answer: str, inner: str, *, swapped: bool
) -> list[Plan]:
    """Return a plan for each number of leading axes that the MatMul repeats."""
    plans = []
    for count in range(len(order) + 1):
        lead, rest = order[:count], order[count:]
        left = "".join(axis for axis in rest if axis in x)
        right = "".join(axis for axis in rest if axis in y)
        if left + right != rest:
            continue  # an axis of both inputs, or one of `right` before one of `left`
        one = Operand(x, (*_pad(lead, x), left, inner))
        two = Operand(y, (*_pad(lead, y), inner, right))
        result = Operand(answer, (*lead, left, right))
        plans.append(Plan(one, two, swapped, inner, result))
    return plans


def _pad(lead: str, letters: str) -> tuple[str, ...]:
    """Return the leading axes of an operand: those before its first one need no axis."""
    axes = [axis if axis in letters else "" for axis in lead]
    return tuple(dropwhile(lambda axis: not axis, axes))


def _keep_order(axes: str, letters: str) -> str:
    return "".join(sorted(axes, key=letters.index))


def _cost(plan: Plan, constants: tuple[bool, bool]) -> tuple[int, int, int, int]:
    """Return what a plan costs at run time, the dearest first.

    A product of vectors is the slowest form, then come transposes, reshapes and repeated axes.
    """
    left, right = plan.result.groups[-2:]
    operands = (plan.second, plan.first) if plan.swapped else (plan.first, plan.second)
    work = [one for one, constant in zip(operands, constants, strict=True) if not constant]
    work.append(plan.result)
    moves, merges = sum(one.moves for one in work), sum(one.merges for one in work)
    return (not left) + (not right), moves, merges, len(plan.result.groups)
