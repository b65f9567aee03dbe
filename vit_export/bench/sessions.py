"""Any ONNX file in the runtimes that open one as it comes."""

from typing import Any

from vit_export.bench.candidates import Contestant, Opened
from vit_export.core.packages import versions_of


def in_onnxruntime(contestant: Contestant) -> Opened:
    """The file in ONNX Runtime's own settings."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = contestant.threads or 0
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(contestant.path, options)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0], (
        f"ONNX Runtime {versions_of(['onnxruntime'])['onnxruntime']}"
    )


def in_openvino(contestant: Contestant) -> Opened:
    """The file in OpenVINO, for latency, in fp32."""
    import openvino

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if contestant.threads:
        settings["INFERENCE_NUM_THREADS"] = contestant.threads
    core = openvino.Core()
    request = core.compile_model(contestant.path, "CPU", settings).create_infer_request()
    return lambda images: request.infer([images])[0], f"OpenVINO {openvino.__version__}"
