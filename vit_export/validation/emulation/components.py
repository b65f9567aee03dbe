"""What the emulators consist of, each part with its pinned versions and SHA-256 sums."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from vit_export.core.cpu import ARM64, X86_64
from vit_export.validation.emulation.cpus import CPUS, WASM, EmulatedCpu

Client = Literal["apt", "pip", "npm"]
ONNX_RUNTIME, NUMPY, ONNX_RUNTIME_WEB, QEMU = "1.32.0", "2.4.6", "1.30.0", "10.0.13"


@dataclass(frozen=True)
class Download:
    """One pinned file of a registry."""

    client: Client
    """The program that fetches it."""
    package: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Component:
    """A part that is installed whole or not at all."""

    name: str
    title: str
    version: str
    """That of what matters most in it."""
    release: str
    """Debian's release that its packages come from; empty without packages of Debian."""
    architecture: str
    """Debian's name of the architecture of its packages."""
    downloads: tuple[Download, ...]
    keep: tuple[str, ...]
    """Patterns of the files that stay, among all that the downloads contain."""

    @property
    def key(self) -> str:
        """The name of its folder, which changes with its files."""
        digest = hashlib.sha256(repr((self.downloads, self.keep)).encode()).hexdigest()
        return f"{self.name}-{digest[:12]}"


QEMU_USER = Component(
    name="qemu",
    title=f"QEMU {QEMU} (user mode)",
    version=QEMU,
    release="trixie",  # bookworm's 7.2 crashes with ONNX Runtime for ARM
    architecture="amd64",
    downloads=(
        Download(
            "apt",
            "qemu-user",
            f"1:{QEMU}+ds-0+deb13u1",
            "ca6ede739327a20ae5a3498230c8a3a9a072c586e131bc6bcc1201eb1725e336",
        ),
    ),
    keep=("usr/bin/qemu-x86_64", "usr/bin/qemu-aarch64", "usr/share/doc/qemu-user/copyright"),
)
_PYTHON, _GCC = "3.11.2-6+deb12u8", "12.2.0-14+deb12u1"
ARM64_PYTHON = Component(
    name="arm64",
    title=f"Python 3.11, NumPy {NUMPY} and ONNX Runtime {ONNX_RUNTIME} for ARM64",
    version=ONNX_RUNTIME,
    release="bookworm",
    architecture="arm64",
    downloads=(
        Download(
            "apt",
            "python3.11-minimal",
            _PYTHON,
            "6a07dd571f1a15af2f855d64571766fe44b73a57cc3b5ca79502bc89156a5e12",
        ),
        Download(
            "apt",
            "libpython3.11-minimal",
            _PYTHON,
            "c48bac178c0fc43a2bf8ace784c762b5ee83e2b981894a991dc3ccfd3ec7cd4b",
        ),
        Download(
            "apt",
            "libpython3.11-stdlib",
            _PYTHON,
            "e79876de55c6c2dca10d044b2fa69ccd863950ea01714220c1982d16008105f9",
        ),
        Download(
            "apt",
            "libc6",
            "2.36-9+deb12u14",
            "01f4330719fd4f65580e16ea5a0527f372fca750e8f588d26deaf09f2d3b1cf4",
        ),
        Download(
            "apt",
            "libgcc-s1",
            _GCC,
            "576926b283613db80168ddf76380a3bd877602778cf0d226caa7bfbfa71eacf3",
        ),
        Download(
            "apt",
            "libstdc++6",
            _GCC,
            "26e138c677a985775331373828a6c286c551ff397cb735d00e2383cb273d1cb2",
        ),
        Download(
            "apt",
            "libexpat1",
            "2.5.0-1+deb12u2",
            "8dc1976735acf825e3a922d82f171e20feec7394da2b8c616091983e38706275",
        ),
        Download(
            "apt",
            "libffi8",
            "3.4.4-1",
            "80b5c36177dc0e29d531c7eddbed3cc7355cb490e49f8cfa5959572d161f27b3",
        ),
        Download(
            "apt",
            "libssl3",
            "3.0.20-1~deb12u2",
            "a256e03cc3abd7243ac5c6ee91a9deb56478221ef0d3c2b0748551e13140c0bf",
        ),
        Download(
            "apt",
            "libbz2-1.0",
            "1.0.8-5+b1",
            "d3a96ece03326498b39ff093a76800dfcbcb1d4049d6ae6e9f6fa1aa7a590ad6",
        ),
        Download(
            "apt",
            "liblzma5",
            "5.4.1-1+deb12u1",
            "647ce9d81e41c30071ce6ac0d3324579216a33aaa1d28971d6952315f6a95a75",
        ),
        Download(
            "apt",
            "zlib1g",
            "1:1.2.13.dfsg-1",
            "52b8b8a145bbe1956bba82034f77022cbef0c3d0885c9e32d9817a7932fe1913",
        ),
        Download(
            "pip",
            "numpy",
            NUMPY,
            "0ab0a9c4ffb1a6d95ef519fe4247dba8eb6b18ad93999f76b7f657039acabd47",
        ),
        Download(
            "pip",
            "onnxruntime",
            ONNX_RUNTIME,
            "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
        ),
    ),
    keep=("*",),
)
ONNX_RUNTIME_FOR_WEB = Component(
    name="wasm",
    title=f"ONNX Runtime Web {ONNX_RUNTIME_WEB}",
    version=ONNX_RUNTIME_WEB,
    release="",
    architecture="",
    downloads=(
        Download(
            "npm",
            "onnxruntime-web",
            ONNX_RUNTIME_WEB,
            "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
        ),
    ),
    keep=(
        "package/package.json",
        "package/dist/ort.wasm.bundle.min.mjs",
        "package/dist/ort-wasm-simd-threaded.mjs",
        "package/dist/ort-wasm-simd-threaded.wasm",
    ),
)
COMPONENTS = (QEMU_USER, ARM64_PYTHON, ONNX_RUNTIME_FOR_WEB)
NEEDS = {
    X86_64: (QEMU_USER,),
    ARM64: (QEMU_USER, ARM64_PYTHON),
    WASM: (ONNX_RUNTIME_FOR_WEB,),
}
"""The components that each architecture needs."""


def list_cpus(component: Component) -> tuple[EmulatedCpu, ...]:
    """Return the CPUs that need `component`."""
    return tuple(cpu for cpu in CPUS.values() if component in NEEDS[cpu.architecture])
