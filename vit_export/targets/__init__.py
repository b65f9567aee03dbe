"""The targets, in the order in which they are listed. A new one is one file and one line here."""

from vit_export.targets import onnx, torchscript
from vit_export.targets.base import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        onnx.TARGET,
        torchscript.TARGET,
    )
}
