"""Proofs on CPUs that are not here; those in QEMU and Node.js are slow, and CI requires them."""

import hashlib
import io
import json
import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import expect_error, need, run, run_json

from vit_export import BuildError, MissingError, RequestError, validate
from vit_export.api import validate as api_validate
from vit_export.backends.open import open_artifact
from vit_export.core.cpu import ARM64, X86_64, identify_cpu
from vit_export.core.progress import silent
from vit_export.validation.emulation import fetch, launch, session
from vit_export.validation.emulation import install as installer
from vit_export.validation.emulation.child import EmulatedProcess
from vit_export.validation.emulation.components import COMPONENTS, NEEDS, Download
from vit_export.validation.emulation.cpus import CPUS, NO_VNNI, find_cpus
from vit_export.validation.emulation.frames import read_frame, write_frame
from vit_export.validation.emulation.identity import draw_factors, multiply
from vit_export.validation.emulation.store import is_installed, locate
from vit_export.validation.verdict import Verdict

IN_CI = ("cpu-avx2", "raspberry-pi-5", "wasm")


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIT_EXPORT_EMULATION", str(tmp_path / "emulation"))
    return tmp_path / "emulation"


@pytest.fixture
def without_emulator(monkeypatch):
    """The worker runs on this machine's own CPU, and every emulator counts as installed."""
    words = ("-I", "-S", "-c", launch.RUN_WORKER)

    def plan(_, product):
        folders = [*launch._find_packages(), Path(launch.vit_export.__file__).parent.parent]  # noqa: SLF001
        command = (sys.executable, *words, "\n".join(map(str, folders)), str(product))
        return launch.Launch(command, "no emulator")

    monkeypatch.setattr(session, "plan_launch", plan)
    monkeypatch.setattr("vit_export.validation.emulation.validate.check_installed", lambda _: None)


@pytest.fixture
def this_cpu():
    """What describes this machine in the table of emulated CPUs."""
    cpu = identify_cpu()
    saturates = cpu.architecture == X86_64 and "AVX2" in cpu.features and not cpu.has_vnni
    features = frozenset(cpu.features)
    changes = {"present": features, "absent": frozenset(), "saturates": saturates}
    return replace(CPUS["cpu-avx2"], architecture=cpu.architecture, **changes)


@pytest.fixture
def emulators():
    """The emulators of those CPUs that CI proves files on."""
    needed = {one for name in IN_CI for one in NEEDS[CPUS[name].architecture]}
    installed = all(map(is_installed, needed))
    need("emulation", present=installed, fix="vit-export emulate --install")


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8", "int64"])
def test_frames_arrive_as_they_were_sent(dtype):
    arrays = [np.arange(6).reshape(2, 3).astype(dtype), np.zeros((0, 4), dtype)]
    stream = io.BytesIO()
    write_frame(stream, {"run": "product"}, arrays)
    write_frame(stream, {"last": True})
    stream.seek(0)
    frame = read_frame(stream)
    assert frame.fields == {"run": "product"}
    for sent, received in zip(arrays, frame.arrays, strict=True):
        assert received.dtype == sent.dtype
        np.testing.assert_array_equal(received, sent)
    assert read_frame(stream).fields == {"last": True}
    with pytest.raises(EOFError):
        read_frame(stream)


def test_a_frame_that_is_cut_off_is_none():
    stream = io.BytesIO()
    write_frame(stream, {}, [np.ones(5, np.float32)])
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(stream.getvalue()[:-1]))


def test_the_product_tells_cpus_apart():
    a, b = np.full((1, 4), 255, np.uint8), np.full((4, 1), 127, np.int8)
    assert multiply(a, b, saturates=False) == 4 * 255 * 127
    assert multiply(a, b, saturates=True) == 2 * 32767
    exact, saturated = (multiply(*draw_factors(), saturates=one) for one in (False, True))
    assert (exact != saturated).mean() > 0.2


def test_unknown_names_get_a_suggestion(fashion):
    text = expect_error("validate", fashion.path["onnx"], "--on", "cpu-avx", exit_code=2)
    assert "no emulated CPU 'cpu-avx'" in text
    assert "cpu-avx2" in text
    with pytest.raises(RequestError):
        find_cpus(["wasm", "x"])
    assert [one.name for one in find_cpus(["wasm", "cpu-sse", "wasm"])] == ["wasm", "cpu-sse"]


def test_only_onnx_files_run_emulated(fashion):
    text = expect_error("validate", fashion.path["torchscript"], "--on", "wasm", exit_code=2)
    assert "is a TorchScript file: --on runs ONNX files" in text


def test_a_missing_emulator_is_exit_code_3(fashion, empty_cache):
    words = ("validate", fashion.path["onnx"], "--on", "cpu-avx2, wasm", "--on", "graviton3")
    text = expect_error(*words, exit_code=3)
    assert "--on cpu-avx2,wasm,graviton3 needs QEMU" in text
    assert "Fix: vit-export emulate --install" in text
    assert not empty_cache.exists()


@pytest.mark.usefixtures("without_emulator")
def test_the_worker_answers_like_the_session(fashion, this_cpu):
    path = fashion.path["onnx"]
    images = np.random.default_rng(0).normal(size=(3, 1, 28, 28)).astype(np.float32)
    with session.open_emulated(this_cpu, path) as emulated:
        np.testing.assert_allclose(emulated.run(images), open_artifact(path, 1).run(images))
        assert emulated.runtime == f"{open_artifact(path).runtime} in no emulator"
        assert not emulated.takes_fp16
        with pytest.raises(Exception, match="dimensions"):
            emulated.run(images[:, :, :5])


@pytest.mark.usefixtures("without_emulator")
def test_a_cpu_that_is_another_one_proves_nothing(fashion, this_cpu):
    impossible = replace(this_cpu, present=this_cpu.present | {"a third hand"})
    with pytest.raises(MissingError, match="emulator of cpu-avx2 shows another CPU: "):
        open_on(impossible, fashion)
    with pytest.raises(MissingError, match="shows another CPU: "):
        open_on(replace(this_cpu, absent=this_cpu.present), fashion)
    with pytest.raises(MissingError, match="shows another CPU: "):
        open_on(replace(this_cpu, architecture=ARM64, present=frozenset()), fashion)


@pytest.mark.usefixtures("without_emulator")
def test_a_cpu_that_multiplies_otherwise_proves_nothing(fashion, this_cpu):
    with pytest.raises(MissingError, match="computes a u8 x s8 product otherwise"):
        open_on(replace(this_cpu, saturates=not this_cpu.saturates), fashion)


def open_on(cpu, fashion):
    with session.open_emulated(cpu, fashion.path["onnx"]):
        pass


@pytest.mark.usefixtures("without_emulator")
def test_one_command_proves_a_file_on_every_cpu(fashion, this_cpu, monkeypatch):
    monkeypatch.setitem(CPUS, "cpu-avx2", this_cpu)
    words = ("validate", fashion.path["onnx"], "--on", "cpu-avx2", "-q")
    text = run(*words).stdout
    assert "this machine   PROVEN" in text
    assert "cpu-avx2       PROVEN" in text
    assert "proves numbers, not speed; and QEMU has no AVX-512" in text
    verdict = run_json(*words)
    there = verdict["emulated"]["cpu-avx2"]
    assert there["status"] == "PROVEN"
    assert there["batches"] == verdict["batches"]
    assert len(there["against_eager"]) == len(verdict["against_eager"])
    assert "in no emulator" in there["runtime"]


@pytest.mark.usefixtures("without_emulator")
def test_a_file_that_is_wrong_on_one_cpu_is_rejected(fashion, monkeypatch):
    def reject(cpu, claim, *_):
        return Verdict.reject(claim.artifact, claim.manifest.precision, f"wrong on {cpu.name}")

    monkeypatch.setattr(sys.modules[api_validate.__module__], "validate_emulated", reject)
    done = run("validate", fashion.path["onnx"], "--on", "wasm", "-q", exit_code=4)
    assert "this machine   PROVEN" in done.stdout
    assert "wasm           REJECTED" in done.stdout
    assert "on wasm: wrong on wasm" in done.stderr
    verdict = validate(fashion.path["onnx"], on=["wasm"])
    assert not verdict.accepted
    assert verdict.here.accepted


@pytest.mark.usefixtures("without_emulator")
def test_a_crash_says_the_last_line(fashion, this_cpu, monkeypatch):
    error = "illegal instruction\nqemu: warning: x"
    command = (sys.executable, "-c", f"import sys; sys.exit({error!r})")
    monkeypatch.setattr(session, "plan_launch", lambda *_: launch.Launch(command, ""))
    monkeypatch.setitem(CPUS, "cpu-avx2", this_cpu)
    text = expect_error("validate", fashion.path["onnx"], "--on", "cpu-avx2", exit_code=1)
    assert "cpu-avx2 ended with exit code 1: illegal instruction" in text


def test_a_process_that_hangs_is_ended():
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    with (
        EmulatedProcess("wasm", command, 0.2) as process,
        pytest.raises(BuildError, match=r"wasm gave no answer within 0\.2 s"),
    ):
        process.receive()


def test_the_worker_needs_numpy_and_onnxruntime_alone():
    """An ARM64 Python has nothing else."""
    code = "import sys, vit_export.validation.emulation.worker; print(*sys.modules)"
    names = run("-c", code, command=sys.executable).stdout.split()
    foreign = {
        "torch",
        "onnx",
        "onnx_ir",
        "PIL",
        "click",
        "rich",
        "einops",
        "jinja2",
        "safetensors",
    }
    assert not foreign & set(names)


@pytest.fixture
def small_components(monkeypatch):
    """Two components whose downloads are small files of the same content."""
    content = b"an emulator"
    sum_ = hashlib.sha256(content).hexdigest()
    first, *_, last = COMPONENTS
    components = [
        replace(one, downloads=(Download("npm", one.name, "1", sum_),), keep=("*",))
        for one in (first, last)
    ]
    monkeypatch.setattr(installer, "COMPONENTS", components)
    monkeypatch.setattr(installer, "check_machine", lambda: None)

    def set_fetch(fetch):
        client = replace(installer.CLIENTS["npm"], check=lambda: None, fetch=fetch)
        monkeypatch.setitem(installer.CLIENTS, "npm", client)

    set_fetch(lambda one, folder: (folder / one.package).write_bytes(content))
    unpack = lambda file, folder: (folder / "file").write_bytes(file.read_bytes())  # noqa: E731
    monkeypatch.setattr(installer, "unpack", unpack)
    return components, set_fetch


def install():
    installer.install(silent)


def test_an_installation_is_whole(empty_cache, small_components):
    components, set_fetch = small_components
    (empty_cache / ".partial-killed").mkdir(parents=True)
    install()
    assert all(map(is_installed, components))
    assert [path.read_bytes() for path in empty_cache.glob("*/file")] == [b"an emulator"] * 2
    assert sorted(empty_cache.iterdir()) == sorted(map(locate, components))
    set_fetch(None)
    install()  # fetches nothing again


def test_an_interrupted_installation_leaves_nothing(empty_cache, small_components):
    components, set_fetch = small_components
    fetched = []

    def interrupt(one, folder):
        fetched.append(one)
        (folder / one.package).write_bytes(b"an emulator")
        if len(fetched) == 2:
            raise KeyboardInterrupt

    set_fetch(interrupt)
    with pytest.raises(KeyboardInterrupt):
        install()
    assert [is_installed(one) for one in components] == [True, False]
    assert list(empty_cache.iterdir()) == [locate(components[0])]


def test_another_file_than_the_pinned_one_is_refused(empty_cache, small_components):
    components, set_fetch = small_components
    set_fetch(lambda one, folder: (folder / one.package).write_bytes(b"a forgery"))
    with pytest.raises(BuildError, match="is not the pinned file: its SHA-256 is"):
        install()
    assert not any(map(is_installed, components))
    assert not list(empty_cache.iterdir())


def test_a_version_that_left_the_mirror_is_an_error_in_words(tmp_path, monkeypatch):
    places = []

    def fail(command, _folder):
        if "update" in command:
            sources = Path(command[1].removeprefix("APT_CONFIG=")).with_name("sources.list")
            places.append(sources.read_text().split()[4])
        else:
            raise BuildError("E: Version '1' for 'qemu-user' was not found", "")

    monkeypatch.setattr(fetch, "_run", fail)
    (tmp_path / "downloads").mkdir()
    with pytest.raises(BuildError, match=r"pinned version of QEMU .* was not found"):
        fetch.fetch_debian(COMPONENTS[0], tmp_path / "downloads")
    assert places == [fetch.MIRROR, fetch.SNAPSHOT]


def test_another_system_gets_a_container(empty_cache, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    text = expect_error("emulate", "--install", exit_code=3)
    assert "need Debian or Ubuntu on x86-64" in text
    assert "docker run --rm --platform linux/amd64" in text
    assert not empty_cache.exists()


@pytest.mark.usefixtures("empty_cache")
def test_emulate_and_doctor_list_what_is_there():
    listed = run_json("emulate")
    assert [one["installed"] for one in listed] == [False] * len(COMPONENTS)
    assert set(CPUS) == {name for one in listed for name in one["cpus"]}
    (health,) = (one for one in run_json("doctor") if one["target"] == "emulation")
    assert health["fix"] == "vit-export emulate --install"
    locate(COMPONENTS[0]).mkdir(parents=True)
    assert [one["installed"] for one in run_json("emulate")] == [True, False, False]
    assert "raspberry-pi-5" in run("emulate").stdout


def test_every_cpu_can_be_told_from_its_kin():
    """The expected extensions exclude each other, and only AVX2 without VNNI saturates."""
    kin = [one for one in CPUS.values() if one.architecture == X86_64]
    assert [one.name for one in kin if one.saturates] == ["cpu-avx2"]
    assert all(one.absent >= NO_VNNI for one in kin)
    for one in CPUS.values():
        for other in CPUS.values():
            if one is not other and one.architecture == other.architecture:
                assert (one.present ^ other.present) & (one.absent | other.absent)


@pytest.mark.slow
@pytest.mark.usefixtures("emulators")
def test_the_trained_model_is_proven_on_cpus_that_are_not_here(tmp_path):
    path = tmp_path / "f8.onnx"
    run("onnx", "--model", "fashion_mnist", "--precision", "int8", "--out", path, "-q")
    verdict = json.loads(run("validate", path, "--on", ",".join(IN_CI), "--json", "-q").stdout)
    runtimes = {name: one["runtime"] for name, one in verdict["emulated"].items()}
    assert {name: one["status"] for name, one in verdict["emulated"].items()} == dict.fromkeys(
        IN_CI, "PROVEN"
    )
    assert "x86-64 AVX2)" in runtimes["cpu-avx2"]
    assert "ARM64 dotprod)" in runtimes["raspberry-pi-5"]
    assert "ONNX Runtime Web" in runtimes["wasm"]
    for one in verdict["emulated"].values():
        assert len(one["against_eager"]) == len(verdict["against_eager"])


@pytest.mark.slow
@pytest.mark.usefixtures("emulators")
def test_an_emulator_of_another_cpu_is_noticed(fashion, monkeypatch):
    monkeypatch.setitem(CPUS, "cpu-avx2", replace(CPUS["cpu-avx2"], model="Nehalem"))
    words = ("validate", fashion.path["onnx"], "--on", "cpu-avx2")
    assert "shows another CPU: x86-64 SSE4.1." in expect_error(*words, exit_code=3)
