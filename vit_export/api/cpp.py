"""Writes a C++ project around an artifact."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_export.checkpoints.module.request import ModuleRequest
from vit_export.checkpoints.rebuild import ModelSource
from vit_export.codegen.generate import CppProject, generate_project
from vit_export.core.output_path import expand_home
from vit_export.core.progress import Progress, silent


def cpp(
    artifact: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    preprocess: str | None = None,
    weights: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    force: bool = False,
    progress: Progress = silent,
) -> CppProject:
    """Write a C++ project that classifies images with an artifact, tested against eager PyTorch.

    Args:
        artifact: a file that vit-export wrote.
        out: the folder of the project.
        name: name of the library in CMake and of the namespace in C++. None takes the model's; two
            projects in one program need two names.
        preprocess: where images are resized: `graph` (in the model file) or `cpp`. None takes the
            one that the artifact was built for.
        weights: the checkpoint the artifact came from. An artifact that preprocesses by itself
            needs none, nor do shipped and random weights.
        module: the user's own code that the artifact was exported from, which runs: as in the
            export. An artifact that preprocesses by itself needs none.
        arguments: arguments of that class or function by name, as in the export.
        force: write into a folder that is not empty.
        progress: opened around every stage.

    Raises:
        RequestError: vit-export did not write the file; C++ cannot classify with it; it was not
            built for `preprocess`, or it resizes as another Pillow; `weights` or `module` are not
            those it was built from; `name` is no name in CMake and C++; or `out` is not empty.
        RejectedError: the artifact does not answer as eager PyTorch does.
    """
    checkpoint = None if weights is None else Path(weights)
    return generate_project(
        Path(artifact),
        expand_home(Path(out)),
        name=name,
        preprocess=preprocess,
        source=ModelSource(
            weights=checkpoint, module=ModuleRequest.choose(module, arguments, None, None)
        ),
        force=force,
        progress=progress,
    )
