"""The resize inside a file, in ONNX and in TorchScript, gives exactly the pixels of Pillow."""

import dataclasses

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import PIL
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import ROOT

from vit_export.data.pillow_resize import columns_may_come_first
from vit_export.data.preprocessing import Preprocessing, preprocess
from vit_export.graph.resize import take_pixels
from vit_export.model.resize import PillowResize

PHOTO = ROOT / "vit_export" / "data" / "photos" / "cat.png"
COLUMNS_FIRST = columns_may_come_first(PIL.__version__)
SHORTER = Preprocessing(resize=37, crop=(32, 28), mean=(0.5,) * 3, std=(0.25,) * 3)
SIDES = dataclasses.replace(SHORTER, resize=(33, 41), centre="floor")
GREY = Preprocessing(mode="L", resize=40, crop=(33, 40), mean=(0.3,), std=(0.4,))
PREPROCESSINGS = {
    f"{name} {interpolation}": dataclasses.replace(preprocessing, interpolation=interpolation)
    for name, preprocessing in (("shorter", SHORTER), ("sides", SIDES), ("grey", GREY))
    for interpolation in ("bilinear", "bicubic", "lanczos")
}
WITHOUT_SINES = {name: one for name, one in PREPROCESSINGS.items() if "lanczos" not in name}
SIZES = [(32, 28), (37, 37), (64, 48), (61, 45), (7, 9), (240, 33), (33, 300), (1, 5), (481, 333)]


def draw_noise(size, preprocessing, seed=0, values=256):
    """Return an image (H, W, C) with this number of values: all, or black and white."""
    shape = (*size, len(preprocessing.mean))
    pixels = np.random.default_rng(seed).integers(0, values, shape, np.uint8)
    return pixels if values == 256 else pixels * np.uint8(255)


def resize_by_pillow(image, preprocessing):
    """Return pixels of Pillow's own resize and our crop, (C, h, w)."""
    plain = dataclasses.replace(
        preprocessing, mean=(0.0,) * len(preprocessing.mean), std=(1.0,) * len(preprocessing.std)
    )
    pillow_image = Image.fromarray(image[..., 0] if preprocessing.mode == "L" else image)
    return np.round(preprocess(pillow_image, plain) * 255)


def build_graph(preprocessing, opset=20, *, columns_first=COLUMNS_FIRST, **options):
    """Return a model: the resize in front of a node that does nothing."""
    shape = ["batch", len(preprocessing.mean), *preprocessing.crop]
    dtype = ir.TensorType(ir.DataType.FLOAT)
    image = ir.Value(name="image", shape=ir.Shape(shape), type=dtype)
    node = ir.node("Identity", [image])
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = "out", image.shape, dtype
    graph = ir.Graph([image], node.outputs, nodes=[node], opset_imports={"": opset}, name="g")
    model = ir.Model(graph, ir_version=10)
    options = {"normalizes": False, **options}
    take_pixels(model, preprocessing, columns_first=columns_first, **options)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def build_onnx(preprocessing, opset=20, **options):
    proto = build_graph(preprocessing, opset, **options)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return lambda images: session.run(None, {"image": images})[0]


def build_integers(preprocessing):
    return build_onnx(preprocessing, in_integers=True)


def build_openvino(preprocessing, mode, **options):
    """Return the graph in OpenVINO, which computes floats in 32 or 16 bits."""
    core, model = openvino.Core(), build_graph(preprocessing, **options).SerializeToString()
    settings = {"INFERENCE_PRECISION_HINT": mode}
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    return lambda images: compiled([images])[0].copy()


def build_torchscript(preprocessing, *, normalizes=False):
    """Trace the module on one size and use it for all."""
    module = PillowResize(preprocessing, columns_first=COLUMNS_FIRST, normalizes=normalizes).eval()
    with pytest.deprecated_call():
        example = torch.zeros(2, 50, 40, len(preprocessing.mean), dtype=torch.uint8)
        traced = torch.jit.freeze(torch.jit.trace(module, (example,), check_trace=False))
    return lambda images: traced(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("build", [build_onnx, build_torchscript])
@pytest.mark.parametrize("preprocessing", PREPROCESSINGS.values(), ids=PREPROCESSINGS)
def test_every_pixel_is_that_of_pillow(build, preprocessing):
    """Noise in many sizes: enlarged, reduced, odd, wide, tall, and as large as the crop."""
    resize = build(preprocessing)
    for size in SIZES:
        for values in (256, 2):
            images = np.stack([draw_noise(size, preprocessing, seed, values) for seed in range(3)])
            expected = np.stack([resize_by_pillow(image, preprocessing) for image in images])
            np.testing.assert_array_equal(resize(images), expected, err_msg=str(size))


@pytest.mark.parametrize("name", ["shorter bilinear", "shorter bicubic", "sides bicubic"])
def test_every_size_gives_the_pixels_of_pillow(name):
    preprocessing = PREPROCESSINGS[name]
    resize = build_onnx(preprocessing)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 99))
    def check(height, width, seed):
        assume(max(height, width) <= 100 * min(height, width))  # Python refuses these
        image = draw_noise((height, width), preprocessing, seed)
        np.testing.assert_array_equal(
            resize(image[None])[0], resize_by_pillow(image, preprocessing)
        )

    check()


@pytest.mark.parametrize("preprocessing", WITHOUT_SINES.values(), ids=WITHOUT_SINES)
def test_integers_give_every_pixel_of_pillow(preprocessing):
    resize = build_integers(preprocessing)
    for size in (*SIZES, (1700, 1900), (3, 211)):
        image = draw_noise(size, preprocessing)
        expected = resize_by_pillow(image, preprocessing)
        np.testing.assert_array_equal(resize(image[None])[0], expected, err_msg=str(size))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("shorter bicubic", "f32"),
        ("grey bilinear", "f16"),
        pytest.param("grey bilinear", "bf16", marks=pytest.mark.slow),
        pytest.param("sides bicubic", "f16", marks=pytest.mark.slow),
        pytest.param("sides bilinear", "f32", marks=pytest.mark.slow),
    ],
)
def test_integers_give_every_pixel_of_pillow_in_every_mode_of_openvino(name, mode):
    """Its first answer too, and the first after each new size and each larger batch."""
    preprocessing = PREPROCESSINGS[name]
    resize = build_openvino(preprocessing, mode, in_integers=True)
    for batch, size in enumerate(SIZES, 1):
        images = np.stack([draw_noise(size, preprocessing, seed) for seed in range(batch)])
        expected = np.stack([resize_by_pillow(image, preprocessing) for image in images])
        np.testing.assert_array_equal(resize(images), expected, err_msg=str(size))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_every_weight_is_the_same_in_openvino(interpolation):
    """A weight that is off by one of 2^22 would change one pixel of a million."""
    preprocessing = dataclasses.replace(
        SHORTER, resize=248, crop=(224, 224), interpolation=interpolation
    )
    model = build_graph(preprocessing, columns_first=False, in_integers=True)
    names = {node.input[0] for node in model.graph.node if node.op_type == "Slice"}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    model = model.SerializeToString()
    session, core = onnxruntime.InferenceSession(model), openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    for size in ((375, 500), (149, 179), (1, 1), (1201, 1600), (249, 248)):
        image = np.zeros((1, *size, 3), np.uint8)
        _, *expected = session.run(None, {"image": image})
        weights = [compiled([image])[output] for output in compiled.outputs[1:]]
        assert [one.shape[1] for one in weights] == [448, 448]
        for one, other in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=str(size))


def test_openvino_needs_integers_for_the_pixels_of_pillow():
    """The tests above can fail: OpenVINO computes 64-bit weights in 32 bits."""
    preprocessing = PREPROCESSINGS["grey bilinear"]
    resize = build_openvino(preprocessing, "f32")
    images = np.stack([draw_noise((481, 333), preprocessing, seed) for seed in range(16)])
    expected = np.stack([resize_by_pillow(image, preprocessing) for image in images])
    assert (resize(images) != expected).any()


@pytest.mark.parametrize("in_integers", [False, True])
def test_one_node_reads_the_image_of_either_order(in_integers):
    """OpenVINO 2026.4 copies a resized output of an If to its first reader alone."""
    model = ir.from_proto(build_graph(SHORTER, columns_first=True, in_integers=in_integers))
    (order,) = (node for node in model.graph if node.op_type == "If")
    assert [use.node.op_type for use in order.outputs[0].uses()] == ["Cast"]


def test_a_photo_sixteen_times_as_large_gives_the_pixels_of_pillow():
    """In larger ones sums begin to leave the mantissa of fp32."""
    with Image.open(PHOTO) as photo:
        image = np.asarray(photo.resize((1500, 2300)))
    preprocessing = dataclasses.replace(PREPROCESSINGS["shorter bicubic"], resize=90, crop=(80, 88))
    np.testing.assert_array_equal(
        build_onnx(preprocessing)(image[None])[0], resize_by_pillow(image, preprocessing)
    )


def test_another_resize_gives_other_pixels():
    """The test can fail: torch's antialiased resize is off by more than 3 of 255 on such noise."""
    preprocessing = dataclasses.replace(SIDES, crop=SIDES.resize)
    image = draw_noise((97, 60), preprocessing)
    other = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].float(),
        size=preprocessing.resize,
        mode="bilinear",
        antialias=True,
    )
    assert np.abs(other[0].numpy() - resize_by_pillow(image, preprocessing)).max() > 3


@pytest.mark.parametrize("build", [build_onnx, build_torchscript])
def test_normalized_pixels_are_those_of_preprocess(build):
    image = draw_noise((50, 60), SHORTER)
    answer = build(SHORTER, normalizes=True)(image[None])[0]
    np.testing.assert_allclose(answer, preprocess(Image.fromarray(image), SHORTER), atol=1e-6)


@pytest.mark.parametrize("in_integers", [False, True])
@pytest.mark.parametrize("opset", [18, 22])
def test_the_resize_works_at_every_opset(opset, in_integers):
    image = draw_noise((50, 60), SHORTER)
    resize = build_onnx(SHORTER, opset, in_integers=in_integers)
    np.testing.assert_array_equal(resize(image[None])[0], resize_by_pillow(image, SHORTER))


@pytest.mark.parametrize("columns_first", [True, False])
def test_every_split_of_the_resize_has_its_sizes(columns_first):
    """WebGPU in onnxruntime-web refuses a Split with `num_outputs`."""
    model = ir.from_proto(build_graph(SHORTER, columns_first=columns_first))
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    splits = [node for node in nodes if node.op_type == "Split"]
    assert len(splits) == (4 if columns_first else 2)
    assert all(len(split.inputs) == 2 for split in splits)
    assert all("num_outputs" not in split.attributes for split in splits)


@pytest.mark.parametrize(("version", "first"), [("11.3.0", False), ("13.0.0", True)])
def test_the_order_of_rows_and_columns_follows_the_version_of_pillow(version, first):
    """Pillow 13 resizes columns first if an image gets much less tall; earlier versions do not."""
    assert columns_may_come_first(version) is first
    image = torch.from_numpy(draw_noise((300, 40), SHORTER)[None])
    answers = [
        PillowResize(SHORTER, columns_first=order, normalizes=False)(image)
        for order in (True, False)
    ]
    assert not torch.equal(*answers)
