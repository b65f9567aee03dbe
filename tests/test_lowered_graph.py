"""Any module as a graph whose layers are modules: it answers alike, and knows what each is for."""

import numpy as np
import onnx_ir as ir
import pytest
import seed_vit
import torch
from general_graphs import operators, run_graph
from support import mark_slow_except
from torch import nn

from vit_export.artifact.batch import Batch
from vit_export.core.progress import silent
from vit_export.graph.builder import add_initializer
from vit_export.graph.lowered_graph import LoweredGraph
from vit_export.graph.make_graph import make_graph
from vit_export.graph.unfold_patches import unfold_patches
from vit_export.model.layered import NormReaders
from vit_export.model.program.export import export_program
from vit_export.model.program.lowered import LoweredProgram
from vit_export.model.signature import image_signature
from vit_export.quantization.observer import collect_stats
from vit_export.quantization.smoothquant import smooth_channels

SHAPE = (3, 32, 32)
IMAGES = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))


class Shared(nn.Module):
    """One layer called twice, on rows of other numbers; products without biases; no norm."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(48, 48, bias=False)
        self.weight = nn.Parameter(torch.randn(48, 7) / 7)

    def forward(self, images):
        tokens = images.flatten(1).unflatten(1, (64, 48))
        tokens = self.mix(self.mix(tokens).relu()[:, ::2])
        return tokens.mean(1) @ self.weight


class ReadTwice(nn.Module):
    """A norm that a product and a residual sum read; an MLP head; windows of tokens."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Linear(48, 32)
        self.outer, self.norm = nn.LayerNorm(32), nn.LayerNorm(32)
        self.project, self.window = nn.Linear(32, 32), nn.Linear(32, 32)
        self.first, self.last = nn.Linear(32, 16), nn.Linear(16, 5)

    def forward(self, images):
        tokens = self.outer(self.patches(images.flatten(1).unflatten(1, (64, 48))))
        tokens = tokens + self.project(tokens)
        windows = self.norm(tokens).unflatten(1, (4, 16)).roll(3, 2).transpose(1, 2)
        pooled = self.window(windows).mean((1, 2))
        return self.last(self.first(pooled).tanh())


def small_vit():
    return seed_vit.ViT(emb_size=32, num_heads=4, depth=2, img_size=32, patch_size=8, n_classes=5)


MODULES = {"seed": small_vit, "shared": Shared, "read twice": ReadTwice}


def graph_of(module, batch="dynamic"):
    """The file of a module's graph after all passes."""
    batch = Batch.parse(batch)
    program = LoweredProgram(export_program(module.eval(), SHAPE, batch.fixed, "module"))
    graph, _ = make_graph(
        program,
        image_signature(SHAPE, "tensor", ()),
        batch=batch,
        opset=20,
        simplifies=True,
        flavour="portable",
        general=True,
        progress=silent,
    )
    return ir.to_proto(graph)


def lower_to_graph(file):
    return LoweredGraph(ir.from_proto(file), {})


@pytest.fixture(scope="module")
def lowered_modules():
    """A function that captures each module once, and returns it with a lowered form."""
    known = {}

    def lower(name):
        if name not in known:
            torch.manual_seed(1)
            module = MODULES[name]()
            for parameter in module.parameters():
                parameter.data += 0.05 * torch.randn_like(parameter)
            module.requires_grad_(requires_grad=False)
            known[name] = module, graph_of(module)
        module, file = known[name]
        return module, lower_to_graph(file)

    return lower


@pytest.mark.parametrize("name", mark_slow_except(MODULES, "read twice"))
def test_it_answers_as_the_module_before_and_after_smoothing(lowered_modules, name):
    module, lowered = lowered_modules(name)
    expected = module(IMAGES).numpy()
    with torch.inference_mode():
        for images, answers in ((IMAGES, expected), (IMAGES[:1], expected[:1])):
            np.testing.assert_allclose(lowered(images).numpy(), answers, rtol=1e-4, atol=1e-4)
        stats, _ = collect_stats(lowered, [(str(n), one.numpy()) for n, one in enumerate(IMAGES)])
        smooth_channels(lowered, stats, dict.fromkeys(stats, "int8"))
        np.testing.assert_allclose(lowered(IMAGES).numpy(), expected, rtol=1e-4, atol=1e-4)
    graph = lowered.write_graph()
    np.testing.assert_allclose(run_graph(graph, image=IMAGES.numpy()), expected, 1e-4, 1e-4)


def test_a_layer_that_was_replaced_stands_in_the_graph(lowered_modules):
    _, lowered = lowered_modules("read twice")
    before = run_graph(lowered.write_graph(), image=IMAGES.numpy())
    layer = nn.Linear(32, 32).requires_grad_(requires_grad=False)
    lowered.set_layer("window", layer)
    with torch.inference_mode():
        answer = lowered(IMAGES).numpy()
    after = run_graph(lowered.write_graph(), image=IMAGES.numpy())
    np.testing.assert_allclose(after, answer, rtol=1e-4, atol=1e-5)
    assert np.abs(after - before).max() > 0.01


def test_roles_are_read_off_the_graph(lowered_modules):
    roles = lowered_modules("read twice")[1].roles
    assert roles.parts == {"patches": ("patches",), "head": ("first", "last")}
    assert roles.blocks == ("project", "window")
    assert roles.norms == (NormReaders("norm", ("window",)),)  # the sum reads the outer one
    assert roles.attentions == roles.value_projections == ()
    assert roles.activated == {"last"}


@pytest.mark.slow
def test_roles_of_a_vit_are_those_of_its_parts(lowered_modules):
    roles = lowered_modules("seed")[1].roles
    assert roles.parts["patches"] == ()  # a convolution
    assert len(roles.parts["head"]) == 1
    assert len(roles.blocks) == 4 + 4
    assert [len(one.readers) for one in roles.norms] == [1, 1, 1, 1, 1]
    assert roles.norms[-1].readers == roles.parts["head"]  # smoothed if the head is quantized
    assert len(roles.attentions) == len(roles.value_projections) == len(roles.activated) == 2


def convolve(side, stride):
    """The graph of one convolution of the image."""
    conv = nn.Conv2d(3, 4, side, stride).requires_grad_(requires_grad=False)
    shapes = {"image": ("batch", *SHAPE), "answer": ("batch", *conv(IMAGES).shape[1:])}
    values = {
        name: ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        for name, shape in shapes.items()
    }
    graph = ir.Graph([values["image"]], [values["answer"]], nodes=[], opset_imports={"": 20})
    weights = [
        add_initializer(graph, word, tensor.numpy())
        for word, tensor in (("weight", conv.weight), ("bias", conv.bias))
    ]
    attributes = {"strides": [stride, stride]}
    inputs, outputs = [values["image"], *weights], [values["answer"]]
    graph.append(ir.node("Conv", inputs, attributes, outputs=outputs, name="patches/Conv"))
    return conv, ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("side", [8, 5])  # 5 leaves a rim of 2 pixels
def test_a_convolution_of_patches_is_unfolded(side):
    conv, graph = convolve(side, side)
    assert unfold_patches(graph) == 1
    assert operators(graph)["Gemm"] == 1
    answer = run_graph(graph, image=IMAGES.numpy())
    np.testing.assert_allclose(answer, conv(IMAGES).numpy(), rtol=1e-4, atol=1e-5)


def test_patches_that_overlap_stay_a_convolution():
    assert unfold_patches(convolve(8, 4)[1]) == 0


@pytest.mark.slow
def test_a_layer_that_is_called_twice_is_two_layers(lowered_modules):
    module, lowered = lowered_modules("shared")
    assert lowered.roles.parts["patches"] == ("mix",)
    assert lowered.roles.blocks == ("mix_2",)
    lowered.set_layer("mix", nn.Linear(48, 48))
    weights = {
        node.name: node.inputs[1].const_value.numpy()
        for node in lowered.write_graph().graph
        if node.op_type == "Gemm"
    }
    second = next(array for name, array in weights.items() if name.startswith("mix_2/"))
    np.testing.assert_array_equal(second, module.mix.weight.numpy())


@pytest.mark.slow
def test_a_fixed_batch_has_the_same_roles(lowered_modules):
    module, lowered = lowered_modules("read twice")
    fixed = lower_to_graph(graph_of(module, "2"))
    assert fixed.roles == lowered.roles
    with torch.inference_mode():
        answer = fixed(IMAGES[:2]).numpy()
    np.testing.assert_allclose(answer, module(IMAGES[:2]).numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_hash_is_that_of_numbers_and_nodes(lowered_modules):
    module, lowered = lowered_modules("read twice")
    assert lowered_modules("read twice")[1].sha256 == lowered.sha256
    changed = ReadTwice()
    changed.load_state_dict(module.state_dict())
    changed.requires_grad_(requires_grad=False).window.weight[0, 0] += 1
    assert lower_to_graph(graph_of(changed)).sha256 != lowered.sha256
