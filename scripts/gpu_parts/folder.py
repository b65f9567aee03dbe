"""The folder that travels: its models, its files with their hashes and large files in parts."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

CONTENTS = "contents.json"
MAX_PART_BYTES = 60 * 10**6
"""Size of the largest part of a large file."""


class StopError(Exception):
    """Why nothing can be done, what to do about it, and the exit code."""

    def __init__(self, message: str, fix: str, exit_code: int = 1) -> None:
        super().__init__(f"Error: {message}\nFix: {fix}")
        self.exit_code = exit_code


@dataclass(frozen=True)
class Model:
    """A TorchScript file that is proven on the GPU."""

    name: str
    preset: str
    preprocesses: bool
    """Whether the file takes pixels (`--preprocess graph`)."""
    travels: bool
    """Whether the file itself is in the folder. The others are too large: their manifests are, and
    the GPU's machine makes the files from the same random weights."""

    @property
    def file(self) -> str:
        """Name of the TorchScript file."""
        return f"{self.name}.pt"

    @property
    def manifest(self) -> str:
        """Name of its manifest."""
        return f"{self.name}.json"


MODELS = (
    Model("fashion", "fashion_mnist", preprocesses=False, travels=True),
    Model("fashion-pixels", "fashion_mnist", preprocesses=True, travels=True),
    Model("vit-tiny", "vit_tiny_patch16_224", preprocesses=False, travels=True),
    Model("vit-tiny-pixels", "vit_tiny_patch16_224", preprocesses=True, travels=False),
    Model("vit-base", "vit_base_patch16_224", preprocesses=False, travels=False),
    Model("vit-base-pixels", "vit_base_patch16_224", preprocesses=True, travels=False),
    Model("einops-base", "einops_vit_base_patch16_224", preprocesses=False, travels=False),
    Model("einops-base-pixels", "einops_vit_base_patch16_224", preprocesses=True, travels=False),
)
ENGINES = {
    "fp32": (),
    "fp16": ("--fp16",),
    "bf16": ("--bf16",),
    "int8-static": ("--int8", "--calibration"),
    "weights-int8": ("--precision", "weights-int8"),
}
"""The options of each engine that travels; `--calibration` is followed by the images."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a folder holds."""

    models: tuple[Model, ...]
    has_engines: bool
    files: dict[str, tuple[int, str]]
    """Size and SHA-256 of every file by its path in the folder."""
    made: dict[str, str]
    """SHA-256 of each TorchScript file that does not travel, as it came out where it was proven."""


def write_contents(
    folder: Path, models: Iterable[Model], made: dict[str, str], *, has_engines: bool
) -> None:
    """Write down what is in a folder."""
    files = {str(one.relative_to(folder)): measure(one) for one in list_files(folder)}
    document = {
        "models": [asdict(one) for one in models],
        "has_engines": has_engines,
        "files": files,
        "made": made,
    }
    (folder / CONTENTS).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_contents(folder: Path) -> Contents:
    """Return what a folder holds.

    Raises:
        StopError: `prepare` did not make it.
    """
    path = folder / CONTENTS
    try:
        document = json.loads(path.read_bytes())
        return Contents(
            models=tuple(Model(**one) for one in document["models"]),
            has_engines=document["has_engines"],
            files={name: (size, digest) for name, (size, digest) in document["files"].items()},
            made=document["made"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} does not say what is in the folder ({error})."
        raise StopError(message, "scripts/gpu_proof prepare NEW_FOLDER", 2) from None


def find_damage(folder: Path, contents: Contents) -> list[str]:
    """Return a sentence for each file that is missing or is not what was prepared."""
    problems = []
    for name, expected in contents.files.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif measure(path) != expected:
            problems.append(f"{name} has another size or SHA-256")
    return problems


def list_files(folder: Path) -> list[Path]:
    """Return the files that travel, but for the list of them and results of an earlier run."""
    return [
        one
        for one in sorted(folder.rglob("*"))
        if one.is_file() and one.name != CONTENTS and not one.name.startswith("results.")
    ]


def measure(path: Path) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def split(source: Path, folder: Path, most_bytes: int = MAX_PART_BYTES) -> list[Path]:
    """Write a file, a compressed one, as `NAME.000`, `NAME.001`, … of at most `most_bytes` each."""
    parts: list[Path] = []
    with source.open("rb") as file:
        while content := file.read(most_bytes):
            parts.append(folder / f"{source.name}.{len(parts):03}")
            parts[-1].write_bytes(content)
    return parts


def join_parts(folder: Path, target: Path) -> list[Path]:
    """Write each file of `folder` that was split, whole again, into `target`; return the paths."""
    parts = [one for one in sorted(folder.glob("*.[0-9][0-9][0-9]")) if one.suffix[1:].isdigit()]
    names = list(dict.fromkeys(one.stem for one in parts))
    for name in names:
        with (target / name).open("wb") as file:
            for part in parts:
                if part.stem == name:
                    file.write(part.read_bytes())
    return [target / name for name in names]
