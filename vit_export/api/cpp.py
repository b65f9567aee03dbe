"""A C++ project around an artifact."""

from pathlib import Path

from vit_export.codegen.generate import CppProject, generate_project
from vit_export.core.progress import Progress, silent


def cpp(
    artifact: str | Path,
    out: str | Path,
    *,
    preprocess: str | None = None,
    weights: str | Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> CppProject:
    """A C++ project that classifies images with an artifact, and whose tests hold it to PyTorch.

    Args:
        artifact: a file that vit-export wrote.
        out: the folder of the project.
        preprocess: where images are resized, `graph` (in the model file) or `cpp`; None for the
            one that the artifact was built for.
        weights: the checkpoint the artifact came from. An artifact that preprocesses by itself
            needs none, nor do shipped and random weights.
        force: write into a folder that is not empty.
        progress: opened around every stage.

    Raises:
        RequestError: the file is no artifact of ours, or C++ cannot classify with it; it was not
            built for this preprocessing, or by a Pillow that resizes otherwise; `weights` are not
            those it was built from; or `out` is not empty.
        RejectedError: the artifact does not answer as eager PyTorch does.
    """
    checkpoint = None if weights is None else Path(weights)
    return generate_project(
        Path(artifact),
        Path(out),
        preprocess=preprocess,
        weights=checkpoint,
        force=force,
        progress=progress,
    )
