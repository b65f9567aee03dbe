"""One function per command, of the same name; the only place that orders stages.

Every backend has one too: `onnx(model, "vit.onnx", opset=18)` is
`build("onnx", model, "vit.onnx", opset=18)`.
"""

from vit_export.api.bench import bench
from vit_export.api.build import build
from vit_export.api.cpp import cpp
from vit_export.api.doctor import doctor
from vit_export.api.emulate import emulate
from vit_export.api.export_functions import make_export_function
from vit_export.api.inspect import inspect
from vit_export.api.locate import locate
from vit_export.api.models import models
from vit_export.api.predict import predict
from vit_export.api.register_exporter import register_exporter
from vit_export.api.summary import summary
from vit_export.api.validate import validate
from vit_export.backends import BACKENDS

__all__ = [
    "bench",
    "build",
    "cpp",
    "doctor",
    "emulate",
    "inspect",
    "locate",
    "models",
    "predict",
    "register_exporter",
    "summary",
    "validate",
]
__all__ += list(BACKENDS)

globals().update({name: make_export_function(backend) for name, backend in BACKENDS.items()})
