"""Runs one ONNX file where vit-export is not installed: `python -S run_elsewhere.py RUNTIME FILE`.

It needs NumPy and the runtime alone. The first line on stdout is JSON: the runtime's version and
the type of the input, or `error`. Then each array on stdin gets one answer: the number of `outputs`
and as many arrays, or `error`. An array is a line of JSON, its type and shape, and its bytes.
"""

import json
import os
import sys

import numpy as np


def write_array(stream, array):
    header = {"dtype": array.dtype.name, "shape": array.shape}
    stream.write(json.dumps(header).encode() + b"\n" + array.tobytes())


def read_array(stream):
    """The next array; None where the stream has ended."""
    line = stream.readline()
    if not line:
        return None
    header = json.loads(line)
    dtype = np.dtype(header["dtype"])
    data = stream.read(dtype.itemsize * int(np.prod(header["shape"])))
    return np.frombuffer(data, dtype).reshape(header["shape"])


def open_in_onnxruntime(path):
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return onnxruntime.__version__, image.type, lambda x: session.run(None, {image.name: x})


def open_in_opencv(path):
    import cv2

    network = cv2.dnn.readNetFromONNX(path)

    def run(images):
        network.setInput(images)
        return [network.forward()]

    return cv2.__version__, "tensor(float)", run


OPEN = {"onnxruntime": open_in_onnxruntime, "opencv": open_in_opencv}


def main():
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a runtime prints is no answer

    def reply(fields):
        answers.write(json.dumps(fields).encode() + b"\n")
        answers.flush()

    try:
        version, dtype, run = OPEN[sys.argv[1]](sys.argv[2])
    except Exception as error:  # noqa: BLE001 whatever a runtime raises
        reply({"error": str(error)})
        return
    reply({"version": version, "dtype": dtype})
    while (images := read_array(sys.stdin.buffer)) is not None:
        try:
            outputs = run(images)
        except Exception as error:  # noqa: BLE001 as above
            reply({"error": str(error)})
            continue
        reply({"outputs": len(outputs)})
        for output in outputs:
            write_array(answers, np.asarray(output))
        answers.flush()


if __name__ == "__main__":
    main()
