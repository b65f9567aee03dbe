"""The targets, in the order in which they are listed. A new one is one file and one line here."""

from vit_export.backends.base import Target
from vit_export.backends.onnx import target as onnx
from vit_export.backends.tensorrt import target as trt
from vit_export.backends.torchscript import target as torchscript
from vit_export.core.errors import MissingError, RequestError, did_you_mean

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        onnx.TARGET,
        torchscript.TARGET,
        trt.TARGET,
    )
}


def find_target(name: str) -> Target:
    """The target called `name`, when all it needs is installed.

    Raises:
        RequestError: there is none of that name.
        MissingError: a package is not installed.
    """
    if name not in TARGETS:
        raise RequestError(f"There is no target {name!r}.", did_you_mean(name, TARGETS))
    target = TARGETS[name]
    missing = target.missing()
    if missing:
        message = f"{name} needs {', '.join(missing)}."
        raise MissingError(message, f"pip install {' '.join(missing)}")
    return target
