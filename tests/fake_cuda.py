"""A fake of the CUDA driver: the functions that cuda.py calls, on memory of this machine."""

import ctypes


class FakeDriver:
    """An RTX 4090 by default. Every function returns 0, or the status that `failing` has for it."""

    def __init__(self, capability=(8, 9), failing=None):
        self.capability, self.failing = capability, dict(failing or {})
        self.memory, self.events, self.freed = {}, 0, []

    def __getattr__(self, name):
        if name in self.failing:
            return lambda *_: self.failing[name]
        if name.startswith("cu"):
            return lambda *_: 0
        raise AttributeError(name)

    def cuDeviceGetCount(self, count):
        count._obj.value = 1
        return 0

    def cuDeviceGetName(self, buffer, size, _):
        buffer.value = b"NVIDIA GeForce RTX 4090"
        return 0

    def cuDeviceGetAttribute(self, value, attribute, _):
        value._obj.value = self.capability[attribute - 75]
        return 0

    def cuStreamCreate(self, handle, _):
        if "cuStreamCreate" in self.failing:
            return self.failing["cuStreamCreate"]
        handle._obj.value = 77
        return 0

    def cuMemAlloc_v2(self, pointer, size):
        if "cuMemAlloc_v2" in self.failing:
            return self.failing["cuMemAlloc_v2"]
        address = 4096 * (len(self.memory) + 1)
        self.memory[address] = bytearray(size.value)
        pointer._obj.value = address
        return 0

    def cuMemFree_v2(self, pointer):
        self.freed.append(pointer.value)
        return 0

    def cuMemcpyHtoDAsync_v2(self, to, source, size, _):
        self.memory[to.value][: size.value] = ctypes.string_at(source.value, size.value)
        return 0

    def cuMemcpyDtoHAsync_v2(self, to, source, size, _):
        content = bytes(self.memory[source.value][: size.value])
        ctypes.memmove(to.value, content, size.value)
        return 0

    def cuEventElapsedTime(self, milliseconds, *_):
        milliseconds._obj.value = 1.5
        return 0
