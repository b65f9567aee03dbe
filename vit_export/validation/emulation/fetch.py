"""Downloads pinned files through the clients of their registries: apt, pip and npm."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vit_export.core.errors import BuildError, MissingError
from vit_export.validation.emulation.components import Client, Component, Download

MIRROR = "http://deb.debian.org/debian"
SNAPSHOT = "http://snapshot.debian.org/archive/debian/20261126T000000Z"
"""The archive as it was when the versions were pinned, for packages that the mirror replaced."""
NO_UPDATE = "check the network; if the version was replaced there, update vit-export."
# Packages are authenticated by their pinned sums, so that Ubuntu needs no keys of Debian.
APT_SOURCE = "deb [trusted=yes check-valid-until=no arch={architecture}] {url} {release} main\n"
APT_CONFIGURATION = """
Dir::State "{folder}";
Dir::State::Lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
"""
WHEELS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64")


@dataclass(frozen=True)
class Fetcher:
    """How one client fetches."""

    check: Callable[[], None]
    """Raise MissingError unless the client is installed."""
    fetch: Callable[[Download, Path], None]
    """Download a pinned file into a folder."""


def _check_apt() -> None:
    """Accept any machine: `check_machine` looked for apt."""


def _check_pip() -> None:
    """Raise MissingError unless this Python has pip."""
    if find_spec("pip") is None:
        raise MissingError("The emulators are fetched with pip.", "python -m ensurepip")


def _check_npm() -> None:
    """Raise MissingError unless npm is installed."""
    if shutil.which("npm") is None:
        message = "ONNX Runtime Web is fetched with npm, and runs in Node.js."
        raise MissingError(message, "apt-get install npm")


def fetch_debian(component: Component, downloads: Path) -> None:
    """Download the Debian packages of `component`, with an apt configuration of its own.

    Raises:
        BuildError: a version is at none of the places, or the network fails.
    """
    packages = [one for one in component.downloads if one.client == "apt"]
    pins = [f"{one.package}={one.version}" for one in packages]
    for url in (MIRROR, SNAPSHOT) if pins else ():
        try:
            _run_apt(component, url, pins, downloads)
        except BuildError as error:
            if url == SNAPSHOT:
                message = f"A pinned version of {component.title} is not available: {error.message}"
                raise BuildError(message, NO_UPDATE) from None
        else:
            return


def _run_apt(component: Component, url: str, pins: Sequence[str], downloads: Path) -> None:
    folder = downloads.with_name("apt")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    architecture, release = component.architecture, component.release
    source = APT_SOURCE.format(architecture=architecture, url=url, release=release)
    (folder / "sources.list").write_text(source, encoding="utf-8")
    configuration = folder / "apt.conf"
    text = APT_CONFIGURATION.format(folder=folder, architecture=architecture)
    configuration.write_text(text, encoding="utf-8")
    apt = ("env", f"APT_CONFIG={configuration}", "apt-get", "--quiet")
    _run([*apt, "update"], downloads)
    _run([*apt, "download", *pins], downloads)


def _fetch_with_pip(download: Download, downloads: Path) -> None:
    pip = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    platforms = [word for wheel in WHEELS for word in ("--platform", wheel)]
    pin = f"{download.package}=={download.version}"
    _run([*pip, *platforms, "--python-version", "3.11", "--dest", ".", pin], downloads)


def _fetch_with_npm(download: Download, downloads: Path) -> None:
    _run(["npm", "pack", "--silent", f"{download.package}@{download.version}"], downloads)


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a client in `folder`.

    Raises:
        BuildError: it fails; the message is its last line about an error.
    """
    done = subprocess.run(  # noqa: S603 the command is ours
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("e:", "error", "npm err"))]
        reason = (errors or lines or ["it said nothing"])[-1]
        raise BuildError(f"{' '.join(command)} failed: {reason}", NO_UPDATE)


CLIENTS: dict[Client, Fetcher] = {
    "apt": Fetcher(_check_apt, lambda *_: None),
    "pip": Fetcher(_check_pip, _fetch_with_pip),
    "npm": Fetcher(_check_npm, _fetch_with_npm),
}
