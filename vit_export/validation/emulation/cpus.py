"""The CPUs that can be emulated, and what each one proves to be before its answers count."""

from collections.abc import Iterable
from dataclasses import dataclass

from vit_export.core.cpu import ARM64, X86_64
from vit_export.core.errors import RequestError, did_you_mean

WASM = "WebAssembly"
LIMITS = (
    "An emulator proves numbers, not speed; and QEMU has no AVX-512, so that its kernels are "
    "proven only on a machine that has it."
)
"""What no emulated run can say."""


@dataclass(frozen=True)
class EmulatedCpu:
    """One CPU of `--on`."""

    name: str
    examples: str
    """Real hardware that computes alike."""
    architecture: str
    """As `core.cpu` calls it, or `WASM`."""
    model: str
    """QEMU's name of the CPU; empty for WebAssembly."""
    present: frozenset[str]
    """Extensions that the emulated process has to see."""
    absent: frozenset[str]
    """Extensions that it must not see."""
    saturates: bool
    """Whether ONNX Runtime's products of u8 and s8 saturate at 16 bits there."""


NO_VNNI = frozenset({"AVX-512", "VNNI", "AMX"})
CPUS = {
    cpu.name: cpu
    for cpu in (
        EmulatedCpu(
            name="cpu-avx2",
            examples="x86 with AVX2 and without VNNI: Haswell to Skylake, Zen 1 to 3",
            architecture=X86_64,
            model="EPYC-Milan",
            present=frozenset({"SSE4.1", "AVX2"}),
            absent=NO_VNNI,
            saturates=True,
        ),
        EmulatedCpu(
            name="cpu-sse",
            examples="x86 without AVX: Nehalem, and Atoms of that time",
            architecture=X86_64,
            model="Nehalem",
            present=frozenset({"SSE4.1"}),
            absent=NO_VNNI | {"AVX2"},
            saturates=False,
        ),
        EmulatedCpu(
            name="raspberry-pi-5",
            examples="ARM Cortex-A76 with dot products: Raspberry Pi 5, phones since 2018",
            architecture=ARM64,
            model="cortex-a76",
            present=frozenset({"dotprod"}),
            absent=frozenset({"i8mm", "SVE", "SME"}),
            saturates=False,
        ),
        EmulatedCpu(
            name="graviton3",
            examples="ARM Neoverse V1 with i8mm and SVE: AWS Graviton 3",
            architecture=ARM64,
            model="neoverse-v1",
            present=frozenset({"dotprod", "i8mm", "SVE"}),
            absent=frozenset({"SME"}),
            saturates=False,
        ),
        EmulatedCpu(
            name="armv9-sme",
            examples="ARMv9 with matrix extensions: Apple M4, newer phones",
            architecture=ARM64,
            model="max",
            present=frozenset({"dotprod", "i8mm", "SVE", "SME"}),
            absent=frozenset(),
            saturates=False,
        ),
        EmulatedCpu(
            name="wasm",
            examples="onnxruntime-web on the CPU: browsers and Node.js",
            architecture=WASM,
            model="",
            present=frozenset({"SIMD"}),
            absent=frozenset(),
            saturates=False,
        ),
    )
}
"""By name, in the order of the documentation."""


def find_cpus(names: Iterable[str]) -> tuple[EmulatedCpu, ...]:
    """Return the emulated CPUs of these names, each once.

    Raises:
        RequestError: there is none of some name.
    """
    unique = tuple(dict.fromkeys(names))
    for name in unique:
        if name not in CPUS:
            raise RequestError(f"There is no emulated CPU {name!r}.", did_you_mean(name, CPUS))
    return tuple(CPUS[name] for name in unique)
