"""Which files are built of a module that is no known Vision Transformer."""

from vit_export.artifact.precision import QuantizationRequest, check_precision
from vit_export.backends.base import Backend
from vit_export.core.errors import RequestError


def check_program(backend: Backend, request: QuantizationRequest) -> None:
    """Raise RequestError unless `backend` builds files of any module in the requested precision."""
    if not backend.program_precisions:
        message = f"{backend.name} takes Vision Transformers of known families alone."
        raise RequestError(message, "take vit-export onnx for this module.")
    check_precision(request, f"{backend.name} of a module of your own", backend.program_precisions)
