"""The instruction set that a process sees, and that a verdict names."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from masked_cpu import masked

from vit_export.backends.open import open_artifact
from vit_export.core import cpu
from vit_export.core.cpu import ARM64, X86_64, Cpu, identify_cpu

X86_ONLY = pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="asks CPUID")


@pytest.mark.parametrize(
    ("architecture", "features", "name", "has_vnni"),
    [
        (X86_64, ("SSE4.1", "AVX2", "AVX-512", "VNNI"), "x86-64 AVX-512 VNNI", True),
        (X86_64, ("SSE4.1", "AVX2", "VNNI"), "x86-64 AVX2 VNNI", True),
        (X86_64, ("SSE4.1", "AVX2"), "x86-64 AVX2", False),
        (X86_64, (), "x86-64", False),
        (X86_64, None, "x86-64", None),
        (ARM64, ("dotprod", "i8mm"), "ARM64 dotprod i8mm", False),
        ("riscv64", None, "riscv64", None),
    ],
)
def test_a_name_says_what_matters(architecture, features, name, has_vnni):
    described = Cpu(architecture, features)
    assert (described.name, described.has_vnni) == (name, has_vnni)


def test_leaves_that_a_cpu_lacks_are_not_read():
    """An old CPU answers unknown leaves with those of another one."""
    for largest_leaf, largest_sub_leaf, features in (
        (1, 0, ("SSE4.1",)),
        (7, 0, ("SSE4.1", "AVX2", "AVX-512", "VNNI", "AMX")),
    ):

        def cpuid(leaf, sub_leaf, most=largest_leaf, most_sub=largest_sub_leaf):
            assert leaf <= most
            assert leaf != 7 or sub_leaf <= most_sub
            if leaf == 0:
                return (most, 0, 0, 0)
            eax = most_sub if leaf == 7 else 0
            return (eax, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)

        assert cpu.list_x86_features(cpuid) == features


@X86_ONLY
@pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc/cpuinfo")
def test_cpuid_agrees_with_the_kernel():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(line for line in lines if line.startswith("flags")).split()
    features = identify_cpu().features
    assert ("AVX2" in features) == ("avx2" in flags)
    assert ("AVX-512" in features) == ("avx512f" in flags)
    assert ("VNNI" in features) == bool({"avx512_vnni", "avx_vnni"} & set(flags))


@X86_ONLY
def test_a_kernel_without_executable_memory_leaves_the_features_unknown(monkeypatch):
    def refuse(_):
        raise PermissionError("no")

    monkeypatch.setattr(cpu, "make_executable", refuse)
    identify_cpu.cache_clear()
    try:
        assert identify_cpu() == Cpu(X86_64, None)
    finally:
        identify_cpu.cache_clear()


@pytest.mark.parametrize(
    ("kept", "name"),
    [("avx512", "x86-64 AVX-512"), ("avx2", "x86-64 AVX2"), ("sse", "x86-64 SSE4.1")],
)
def test_a_mask_changes_what_a_process_sees(cpu_mask, kept, name):
    if kept == "avx512" and "AVX-512" not in (identify_cpu().features or ()):
        pytest.skip("this CPU has no AVX-512")
    code = "from vit_export.core.cpu import identify_cpu; print(identify_cpu().name)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=masked(cpu_mask, kept), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == name


def test_sessions_name_the_instruction_set(fashion_file):
    assert open_artifact(fashion_file).runtime.endswith(f"(CPU, {identify_cpu().name})")
