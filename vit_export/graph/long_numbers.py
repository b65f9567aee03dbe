"""Whole numbers of up to 60 bits in a graph, for runtimes whose longest integers have 32 bits.

OpenVINO computes int64 in int32. It divides, sums up (ReduceSum) and selects (Where) int32 in fp32:
sums and quotients here are small enough to be exact there, and nothing large is selected.
"""

import numpy as np
import onnx_ir as ir

from vit_export.graph.builder import NodeBuilder

INT = np.int32
HALF = 15
"""Bits of a limb in products and sums."""
LOW = 2 * HALF
"""Bits of the lower of the two limbs of a number."""
DIGIT = 6
"""Bits of a digit in a division."""

LongNumber = tuple[ir.Value, ir.Value]
"""Upper and lower limb of a whole number; the lower one is not negative."""


def add_split(write: NodeBuilder, value: ir.Value, bits: int = HALF) -> LongNumber:
    """Return the upper bits of a number, shifted, and its lowest `bits`.

    The dividend is exact in fp32 and so is the quotient: OpenVINO may divide in fp32.
    """
    upper, lower = (
        write("BitwiseAnd", value, INT(mask)) for mask in (-(1 << bits), (1 << bits) - 1)
    )
    return write("Div", upper, INT(1 << bits)), lower


def add_sum(write: NodeBuilder, sign: ir.Value, number: LongNumber) -> LongNumber:
    """Return the sum of each window: limbs are so short that fp32 adds them up exactly."""
    middle, lower = add_split(write, number[1])
    limbs = (
        write("ReduceSum", write("Mul", sign, limb), np.array([1]))
        for limb in (lower, middle, number[0])
    )
    carry, lower = add_split(write, next(limbs))
    carry, middle = add_split(write, write("Add", next(limbs), carry))
    upper = write("Add", next(limbs), carry)
    return upper, write("Add", write("Mul", middle, INT(1 << HALF)), lower)


def add_quotient(
    write: NodeBuilder, dividend: LongNumber, divisor: LongNumber, bits: int
) -> ir.Value:
    """Return dividend / divisor, less than 2, times 2^bits and rounded.

    The upper limb of the divisor lies between 2^11 and 2^24, so that it alone gives each digit or
    the digit less one.

    Args:
        write: adds the nodes.
        dividend: a number that is not negative.
        divisor: a positive number.
        bits: fractional bits of the result, less than 24.
    """
    rest, quotient = _add_remainder(write, dividend, divisor)
    for _ in range(4):
        carry, lower = add_split(write, rest[1], LOW - DIGIT)
        upper = write("Add", write("Mul", rest[0], INT(1 << DIGIT)), carry)
        lower = write("Mul", lower, INT(1 << DIGIT))
        digit = write("Div", upper, write("Add", divisor[0], INT(2)))
        rest = _add_difference(write, (upper, lower), _add_multiple(write, divisor, digit))
        rest, more = _add_remainder(write, rest, divisor)
        quotient = write("Mul", quotient, INT(1 << DIGIT))
        quotient = write("Add", quotient, write("Add", digit, more))
    extra = 4 * DIGIT - bits
    rounded, _ = add_split(write, write("Add", quotient, INT(1 << (extra - 1))), extra)
    return rounded


def _add_multiple(write: NodeBuilder, number: LongNumber, digit: ir.Value) -> LongNumber:
    """Return the product of a number and a digit."""
    middle, lower = add_split(write, number[1])
    carry, middle = add_split(write, write("Mul", middle, digit))
    upper = write("Add", write("Mul", number[0], digit), carry)
    middle = write("Mul", middle, INT(1 << HALF))
    return upper, write("Add", middle, write("Mul", lower, digit))


def _add_difference(write: NodeBuilder, number: LongNumber, other: LongNumber) -> LongNumber:
    """Return number - other; the lower limb of `other` may be too large for a limb."""
    borrow, lower = add_split(write, write("Sub", number[1], other[1]), LOW)
    return write("Add", write("Sub", number[0], other[0]), borrow), lower


def _add_remainder(
    write: NodeBuilder, number: LongNumber, divisor: LongNumber
) -> tuple[LongNumber, ir.Value]:
    """Return a number, less the divisor if that is not larger, and whether it is not, as 0 or 1."""
    less = _add_difference(write, number, divisor)
    fits = write("GreaterOrEqual", less[0], INT(0))
    fits = write("Cast", fits, to=ir.DataType.INT32)
    upper, lower = (
        write("Add", whole, write("Mul", fits, write("Sub", part, whole)))
        for part, whole in zip(less, number, strict=True)
    )
    return (upper, lower), fits
