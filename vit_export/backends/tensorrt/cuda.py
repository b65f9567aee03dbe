"""Memory, a stream and a clock on a GPU, through the CUDA driver alone."""

import ctypes
from typing import Any

import numpy.typing as npt

from vit_export.backends.tensorrt.driver import DriverError, call, find_driver

Numbers = npt.NDArray[Any]


class Device:
    """The first GPU, with one stream and memory that grows as it is asked for."""

    def __init__(self, driver: Any = None) -> None:
        self._driver = driver if driver is not None else find_driver()
        if self._driver is None:
            raise DriverError("no GPU")
        handle = ctypes.c_void_p()
        call(self._driver, "cuStreamCreate", ctypes.byref(handle), 0)
        self.stream = int(handle.value or 0)
        """Its handle, as TensorRT takes it."""
        self._memory: dict[str, tuple[ctypes.c_uint64, int]] = {}

    def room(self, name: str, size_bytes: int) -> int:
        """The address of at least that much memory; the same one for a name until more is asked."""
        pointer, size = self._memory.get(name, (ctypes.c_uint64(), 0))
        if size < size_bytes:
            if size:
                call(self._driver, "cuMemFree_v2", pointer)
            call(self._driver, "cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size_bytes))
            self._memory[name] = (pointer, size_bytes)
        return int(pointer.value)

    def write(self, address: int, numbers: Numbers) -> None:
        """Copies contiguous numbers to the GPU, in the stream."""
        self._copy("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), numbers.ctypes.data, numbers)

    def read(self, address: int, into: Numbers) -> None:
        """Copies from the GPU, in the stream."""
        self._copy("cuMemcpyDtoHAsync_v2", into.ctypes.data, ctypes.c_uint64(address), into)

    def _copy(self, function: str, to: Any, source: Any, numbers: Numbers) -> None:
        ends = [ctypes.c_void_p(end) if isinstance(end, int) else end for end in (to, source)]
        size = ctypes.c_size_t(numbers.nbytes)
        call(self._driver, function, *ends, size, ctypes.c_void_p(self.stream))

    def wait(self) -> None:
        """Until the stream has done everything."""
        call(self._driver, "cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def mark(self) -> ctypes.c_void_p:
        """An event in the stream, as it is now."""
        event = ctypes.c_void_p()
        call(self._driver, "cuEventCreate", ctypes.byref(event), 0)
        call(self._driver, "cuEventRecord", event, ctypes.c_void_p(self.stream))
        return event

    def between_ms(self, first: ctypes.c_void_p, last: ctypes.c_void_p) -> float:
        """Milliseconds from one event to another; both are gone afterwards."""
        call(self._driver, "cuEventSynchronize", last)
        found = ctypes.c_float()
        call(self._driver, "cuEventElapsedTime", ctypes.byref(found), first, last)
        for event in (first, last):
            call(self._driver, "cuEventDestroy_v2", event)
        return float(found.value)
