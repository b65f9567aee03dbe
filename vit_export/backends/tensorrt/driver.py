"""The CUDA driver, through ctypes: it is there wherever an NVIDIA GPU works, without a package."""

import ctypes
from dataclasses import dataclass
from typing import Any

LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CUdevice_attribute, of cuda.h."""
LONGEST_NAME = 128


@dataclass(frozen=True)
class Gpu:
    """The first GPU that CUDA shows."""

    name: str
    capability: str
    """As NVIDIA writes it: 8.9."""


class DriverError(Exception):
    """A call of the driver failed; the message names it."""


def find_driver() -> Any:
    """The driver's library with a context on the first GPU current in this thread, or None."""
    for name in LIBRARIES:
        try:
            return _started(ctypes.CDLL(name))
        except (OSError, DriverError):
            continue
    return None


def find_gpu() -> Gpu | None:
    """What kind of GPU is here; None where there is none, or no driver for it."""
    driver = find_driver()
    return None if driver is None else gpu_of(driver)


def gpu_of(driver: Any) -> Gpu:
    """The first GPU of a driver."""
    device = ctypes.c_int()
    call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(LONGEST_NAME)
    call(driver, "cuDeviceGetName", name, LONGEST_NAME, device)
    numbers = []
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        value = ctypes.c_int()
        call(driver, "cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        numbers.append(str(value.value))
    return Gpu(name.value.decode(), ".".join(numbers))


def call(driver: Any, function: str, *arguments: Any) -> None:
    """Calls a function of the driver.

    Raises:
        DriverError: it answers with another number than 0.
    """
    status = getattr(driver, function)(*arguments)
    if status:
        raise DriverError(f"{function} answers {status}")


def _started(driver: Any) -> Any:
    """`driver`, with the first GPU's primary context current: the one that TensorRT uses too."""
    call(driver, "cuInit", 0)
    count, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
    call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if not count.value:
        raise DriverError("no GPU")
    call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call(driver, "cuCtxSetCurrent", context)
    return driver
