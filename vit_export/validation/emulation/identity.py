"""An emulated process proves what it is: by the CPU that it sees, and by how it multiplies."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vit_export.core.errors import MissingError
from vit_export.validation.emulation.child import EmulatedProcess
from vit_export.validation.emulation.cpus import EmulatedCpu

SEED, ROWS, INNER, COLUMNS = 15, 8, 64, 32
OPSET, IR_VERSION = 13, 8
LOWEST, HIGHEST = -(2**15), 2**15 - 1
"""The least and the largest sum of two products that fits 16 bits."""
FIX = "run the emulator of --install, on a processor that it supports; nothing was proven."
WholeNumbers = npt.NDArray[np.int64]


def write_product(path: Path) -> None:
    """Write an ONNX file that multiplies a matrix of u8 by one of s8."""
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("MatMulInteger", ["a", "b"], ["product"])
    factors = [
        helper.make_tensor_value_info("a", TensorProto.UINT8, ["rows", "inner"]),
        helper.make_tensor_value_info("b", TensorProto.INT8, ["inner", "columns"]),
    ]
    product = helper.make_tensor_value_info("product", TensorProto.INT32, ["rows", "columns"])
    graph = helper.make_graph([node], "product", factors, [product])
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), path)


def draw_factors() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Return seeded matrices whose product saturates where sums of pairs have 16 bits."""
    rng = np.random.default_rng(SEED)
    a = rng.integers(0, 2**8, (ROWS, INNER), dtype=np.uint8)
    return a, rng.integers(-(2**7), 2**7, (INNER, COLUMNS), dtype=np.int8)


def multiply(a: npt.NDArray[np.uint8], b: npt.NDArray[np.int8], *, saturates: bool) -> WholeNumbers:
    """Return the product, exact, or as AVX2 sums it: neighbouring products in 16 bits first."""
    terms = a.astype(np.int64)[:, :, None] * b.astype(np.int64)  # (rows, inner, columns)
    pairs: WholeNumbers = terms[:, 0::2] + terms[:, 1::2]
    sums: WholeNumbers = (pairs.clip(LOWEST, HIGHEST) if saturates else pairs).sum(axis=1)
    return sums


def check_identity(cpu: EmulatedCpu, process: EmulatedProcess) -> None:
    """Raise MissingError unless the process sees the instruction set of `cpu` and computes like it.

    Raises:
        BuildError: the process ended.
    """
    fields = process.receive().fields
    features = frozenset(fields["features"] or ())
    seen = " ".join([fields["architecture"], *(fields["features"] or ())])
    fits = cpu.present <= features and not cpu.absent & features
    if fields["architecture"] != cpu.architecture or not fits:
        message = f"The emulator of {cpu.name} shows another CPU: {seen}."
        raise MissingError(message, FIX)
    a, b = draw_factors()
    (product,) = process.ask({"run": "product"}, [a, b]).arrays
    if not np.array_equal(product, multiply(a, b, saturates=cpu.saturates)):
        expected = "saturates" if cpu.saturates else "is exact"
        message = f"The emulator of {cpu.name} ({seen}) computes a u8 x s8 product otherwise"
        raise MissingError(f"{message}: there it {expected}.", FIX)
