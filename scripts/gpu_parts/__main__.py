"""The command line of scripts/gpu_proof; docs/gpu.md is its page."""

import argparse
import sys
import tempfile
from pathlib import Path

from gpu_parts.folder import MODELS, Model, StopError
from gpu_parts.prepare import PYTHON, prepare
from gpu_parts.runner import BUDGET_S, run


def parse_models(text: str) -> tuple[Model, ...]:
    """Return the models with these names, in the order of the table."""
    names = text.split(",")
    unknown = set(names) - {one.name for one in MODELS}
    if unknown:
        known = ", ".join(one.name for one in MODELS)
        raise argparse.ArgumentTypeError(
            f"there is no {', '.join(sorted(unknown))}; known: {known}"
        )
    return tuple(one for one in MODELS if one.name in names)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_proof", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("prepare", "run"))
    parser.add_argument("folder", nargs="?", type=Path, help="the folder that travels")
    parser.add_argument("--local", action="store_true", help="prepare and run, here")
    parser.add_argument("--dry-run", action="store_true", help="run on the CPU")
    parser.add_argument("--engines", action="store_true", help="carry engines and their library")
    parser.add_argument("--models", type=parse_models, default=MODELS, metavar="NAME,NAME")
    parser.add_argument("--seconds", type=float, default=BUDGET_S, help="longest of a run")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 where something failed."""
    parser = make_parser()
    words = parser.parse_args(argv)
    if {words.command is not None, words.folder is not None} != {not words.local}:
        parser.error("give `prepare FOLDER`, `run FOLDER` or `--local`")
    folder = words.folder or Path("gpu-proof")
    try:
        if words.local or words.command == "prepare":
            python = f"{sys.version_info.major}.{sys.version_info.minor}" if words.local else PYTHON
            prepare(folder, words.models, engines=words.engines, python=python)
        if words.command == "prepare":
            return 0
        with tempfile.TemporaryDirectory(prefix="gpu_proof.") as name:
            return int(not run(folder, Path(name), is_dry=words.dry_run, budget_s=words.seconds))
    except StopError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
