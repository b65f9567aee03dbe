"""The CPU that this process runs on: its instruction set, as the process itself sees it.

Operating systems describe the real CPU, in /proc/cpuinfo for example. A process under an emulator
or a mask sees another CPU, and libraries choose their code by what they see. So CPUID runs inside
the process on x86, and ARM64 answers from the process's auxiliary vector.
"""

import mmap
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

X86_64 = "x86-64"
ARM64 = "ARM64"
ARCHITECTURES = {"x86_64": X86_64, "amd64": X86_64, "aarch64": ARM64, "arm64": ARM64}
"""Names of an architecture, by what operating systems call it in lower case."""

CPUID = bytes.fromhex(
    "53"  # push rbx, which the caller owns
    "89f8"  # mov eax, edi: the leaf
    "89f1"  # mov ecx, esi: the sub-leaf
    "4989d0"  # mov r8, rdx: where the answer goes
    "0fa2"  # cpuid
    "418900"  # mov [r8], eax
    "41895804"  # mov [r8 + 4], ebx
    "41894808"  # mov [r8 + 8], ecx
    "4189500c"  # mov [r8 + 12], edx
    "5b"  # pop rbx
    "c3"  # ret
)
"""Machine code of `void cpuid(uint32 leaf, uint32 sub_leaf, uint32 answer[4])`, System V ABI."""
EAX, EBX, ECX, EDX = range(4)
X86_FEATURES = (
    ("SSE4.1", 1, 0, ECX, 19),
    ("AVX2", 7, 0, EBX, 5),
    ("AVX-512", 7, 0, EBX, 16),
    ("VNNI", 7, 0, ECX, 11),  # AVX-512 VNNI
    ("VNNI", 7, 1, EAX, 4),  # AVX-VNNI
    ("AMX", 7, 0, EDX, 25),  # AMX-INT8
)
"""Features of x86: name, leaf, sub-leaf, register and bit of CPUID."""
HWCAP, HWCAP2 = 16, 26
ARM_FEATURES = (
    ("dotprod", HWCAP, 20),
    ("i8mm", HWCAP2, 13),
    ("SVE", HWCAP, 22),
    ("SME", HWCAP2, 23),
)
"""Features of ARM64: name, entry of Linux's auxiliary vector, and bit."""
WIDTHS = ("AVX-512", "AVX2", "SSE4.1")
"""Vector extensions of x86, the widest first; each includes those after it."""


@dataclass(frozen=True)
class Cpu:
    """An instruction set."""

    architecture: str
    """`x86-64`, `ARM64`, or the operating system's own name of another one."""
    features: tuple[str, ...] | None
    """Extensions that matter to products of small integers; None if they can't be read here."""

    @property
    def name(self) -> str:
        """The architecture and its extensions, such as `x86-64 AVX-512 VNNI AMX`."""
        features = self.features or ()
        narrower = [width for width in WIDTHS if width in features][1:]
        return " ".join([self.architecture, *(one for one in features if one not in narrower)])

    @property
    def has_vnni(self) -> bool | None:
        """Whether the CPU sums products of 8-bit integers in 32 bits; None if unknown."""
        return None if self.features is None else "VNNI" in self.features


@cache
def identify_cpu() -> Cpu:
    """Return the CPU that this process sees."""
    machine = platform.machine()
    architecture = ARCHITECTURES.get(machine.lower(), machine or "an unknown CPU")
    read = READERS.get(architecture)
    try:
        return Cpu(architecture, read() if read else None)
    except (ImportError, OSError, AttributeError, ValueError):
        return Cpu(architecture, None)  # a hardened kernel allows no new machine code


def _read_x86_features() -> tuple[str, ...] | None:
    """Return the features that CPUID answers; None under Windows, whose ABI differs."""
    if sys.platform == "win32":
        return None
    import ctypes

    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    page.write(CPUID)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    make_executable(start)
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)
    function = prototype(start)

    def cpuid(leaf: int, sub_leaf: int) -> tuple[int, ...]:
        answer = (ctypes.c_uint32 * 4)()
        function(leaf, sub_leaf, ctypes.addressof(answer))
        return tuple(answer)

    with page:
        return list_x86_features(cpuid)


def make_executable(address: int) -> None:
    """Make one page readable and executable, and no longer writable.

    Raises:
        OSError: the kernel refuses.
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    arguments = ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE)
    if library.mprotect(*arguments, mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "the kernel refuses executable memory")


def list_x86_features(cpuid: Callable[[int, int], tuple[int, ...]]) -> tuple[str, ...]:
    """Return the names of `X86_FEATURES` that `cpuid(leaf, sub_leaf)` answers."""
    largest_leaf, largest_sub_leaf = cpuid(0, 0)[EAX], 0
    if largest_leaf >= 7:  # noqa: PLR2004 the leaf of extended features
        largest_sub_leaf = cpuid(7, 0)[EAX]
    names = [
        name
        for name, leaf, sub_leaf, register, bit in X86_FEATURES
        if leaf <= largest_leaf
        and sub_leaf <= largest_sub_leaf
        and cpuid(leaf, sub_leaf)[register] >> bit & 1
    ]
    return tuple(dict.fromkeys(names))


def _read_arm_features() -> tuple[str, ...] | None:
    """Return the features in Linux's auxiliary vector; None under other systems."""
    if sys.platform != "linux":
        return None
    import ctypes

    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return tuple(name for name, entry, bit in ARM_FEATURES if getauxval(entry) >> bit & 1)


READERS: dict[str, Callable[[], tuple[str, ...] | None]] = {
    X86_64: _read_x86_features,
    ARM64: _read_arm_features,
}
"""What reads the features of an architecture."""
