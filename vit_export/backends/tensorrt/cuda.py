"""The CUDA driver through ctypes: the GPU that is here, its memory, a stream and a clock.

The driver is there wherever an NVIDIA GPU works, without any package.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CUdevice_attribute in cuda.h."""
NAME_BYTES = 128
"""Longest name of a GPU that is read."""


@dataclass(frozen=True)
class Gpu:
    """The first GPU that CUDA shows."""

    name: str
    capability: str
    """Compute capability as NVIDIA writes it: 8.9."""


class DriverError(Exception):
    """A call of the driver failed; the message names the function."""


def load_driver() -> Any:
    """Return the driver's library with a context on the first GPU, or None without a GPU.

    The context is current in this thread afterwards.
    """
    for name in LIBRARIES:
        try:
            return _start(ctypes.CDLL(name))
        except (OSError, DriverError):
            continue
    return None


def find_gpu() -> Gpu | None:
    """Return the GPU that is here; None where there is none, or no driver for it."""
    driver = load_driver()
    return None if driver is None else read_gpu(driver)


def read_gpu(driver: Any) -> Gpu:
    """Return the first GPU of a driver.

    Raises:
        DriverError: the driver does not answer.
    """
    device = ctypes.c_int()
    call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(NAME_BYTES)
    call(driver, "cuDeviceGetName", name, NAME_BYTES, device)
    numbers = []
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        value = ctypes.c_int()
        call(driver, "cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        numbers.append(str(value.value))
    return Gpu(name.value.decode(), ".".join(numbers))


def call(driver: Any, function: str, *arguments: Any) -> None:
    """Call a function of the driver.

    Raises:
        DriverError: it returns another status than 0.
    """
    status = getattr(driver, function)(*arguments)
    if status:
        raise DriverError(f"{function} answers {status}")


def _start(driver: Any) -> Any:
    """Return `driver` with the first GPU's primary context current, which TensorRT uses too."""
    call(driver, "cuInit", 0)
    count, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
    call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if not count.value:
        raise DriverError("no GPU")
    call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call(driver, "cuCtxSetCurrent", context)
    return driver


class Device:
    """The first GPU, with one stream and memory that grows as it is needed.

    Raises:
        DriverError: there is no GPU, or it does not answer.
    """

    def __init__(self, driver: Any = None) -> None:
        self._driver = driver if driver is not None else load_driver()
        if self._driver is None:
            raise DriverError("no GPU")
        handle = ctypes.c_void_p()
        call(self._driver, "cuStreamCreate", ctypes.byref(handle), 0)
        self.stream = int(handle.value or 0)
        """Its handle, as TensorRT takes it."""
        self._memory: dict[str, tuple[ctypes.c_uint64, int]] = {}

    def allocate(self, name: str, size_bytes: int) -> int:
        """Return the address of at least that much memory.

        It stays the same for a name until that name needs more.
        """
        pointer, size = self._memory.get(name, (ctypes.c_uint64(), 0))
        if size < size_bytes:
            if size:
                call(self._driver, "cuMemFree_v2", pointer)
            call(self._driver, "cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size_bytes))
            self._memory[name] = (pointer, size_bytes)
        return int(pointer.value)

    def write(self, address: int, array: Array) -> None:
        """Copy a contiguous array to the GPU, in the stream."""
        self._copy("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), array.ctypes.data, array)

    def read(self, address: int, array: Array) -> None:
        """Fill a contiguous array from the GPU, in the stream."""
        self._copy("cuMemcpyDtoHAsync_v2", array.ctypes.data, ctypes.c_uint64(address), array)

    def _copy(self, function: str, to: Any, source: Any, array: Array) -> None:
        ends = [ctypes.c_void_p(end) if isinstance(end, int) else end for end in (to, source)]
        size = ctypes.c_size_t(array.nbytes)
        call(self._driver, function, *ends, size, ctypes.c_void_p(self.stream))

    def wait(self) -> None:
        """Wait until the stream has done everything."""
        call(self._driver, "cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def record_event(self) -> ctypes.c_void_p:
        """Return an event at the present end of the stream."""
        event = ctypes.c_void_p()
        call(self._driver, "cuEventCreate", ctypes.byref(event), 0)
        call(self._driver, "cuEventRecord", event, ctypes.c_void_p(self.stream))
        return event

    def elapsed_ms(self, first: ctypes.c_void_p, last: ctypes.c_void_p) -> float:
        """Return the milliseconds from one event to another, and destroy both."""
        call(self._driver, "cuEventSynchronize", last)
        milliseconds = ctypes.c_float()
        call(self._driver, "cuEventElapsedTime", ctypes.byref(milliseconds), first, last)
        for event in (first, last):
            call(self._driver, "cuEventDestroy_v2", event)
        return float(milliseconds.value)
