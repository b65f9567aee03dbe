"""Models of vit-pytorch, which people copy into their own code; most are written with einops."""

import importlib
from functools import partial
from typing import Any

from fake_torchvision import fake_torchvision
from torch import nn
from zoo_module import CLASSES, ZooModule

OUT = {"num_classes": CLASSES}
SIZES = OUT | {"dim": 192, "depth": 3, "heads": 3, "mlp_dim": 768}
VIT = SIZES | {"image_size": 224, "patch_size": 16}
VIDEO = SIZES | {"image_size": 128, "image_patch_size": 16, "frames": 16, "frame_patch_size": 2}
SQUARE_256, VIDEO_SHAPE = (3, 256, 256), (3, 16, 128, 128)
STEM = OUT | {"dim_conv_stem": 32, "dim": 32, "dim_head": 32, "window_size": 7}
MOBILE_CHANNELS = [16, 32, 48, 48, 64, 64, 80, 80, 96, 96, 384]
MODELS: dict[str, ZooModule] = {}


def create(file: str, kind: str, arguments: dict[str, Any]) -> nn.Module:
    """Return a class of a file of vit-pytorch, built with these arguments."""
    with fake_torchvision():
        module = importlib.import_module(f"vit_pytorch.{file}")
    built: nn.Module = getattr(module, kind)(**arguments)
    return built


def add(
    file: str,
    kind: str = "ViT",
    shape: tuple[int, ...] = (3, 224, 224),
    refusal: str = "",
    **arguments: Any,
) -> None:
    """Add one model to the zoo."""
    make = partial(create, file, kind, arguments)
    MODELS[f"vit_pytorch:{file}"] = ZooModule(create=make, shape=shape, refusal=refusal)


add("vit", **VIT)
add("simple_vit", "SimpleViT", **VIT)
add("simple_vit_with_register_tokens", "SimpleViT", **VIT)
add("simple_vit_with_qk_norm", "SimpleViT", **VIT)
# it divides by the spread of a spectrum, which a flat image does not have
add(
    "simple_vit_with_fft",
    "SimpleViT",
    refusal="rounding noise is .* of its answer to (constant|saturated)",
    freq_patch_size=16,
    **VIT,
)
add("simple_vit_with_hyper_connections", "SimpleViT", num_residual_streams=4, **VIT)
add("simple_flash_attn_vit", "SimpleViT", **VIT)
add("deepvit", "DeepViT", **VIT)
add("cait", "CaiT", cls_depth=2, **VIT)
add("xcit", "XCiT", cls_depth=2, **VIT)
add("rvt", "RvT", **VIT)
add("parallel_vit", num_parallel_branches=2, **VIT)
add("vit_for_small_dataset", **VIT)
add("vit_with_patch_merger", patch_merge_layer=2, patch_merge_num_tokens=8, **VIT)
add("learnable_memory_vit", **VIT)
add("normalized_vit", "nViT", **VIT)
add("vit_3d", shape=VIDEO_SHAPE, **VIDEO)
add(
    "vivit",
    "ViViT",
    shape=VIDEO_SHAPE,
    spatial_depth=2,
    temporal_depth=2,
    **{name: value for name, value in VIDEO.items() if name != "depth"},
)
add(
    "t2t",
    "T2TViT",
    image_size=224,
    t2t_layers=((7, 4), (3, 2), (3, 2)),
    **SIZES | {"depth": 2, "mlp_dim": 384},
)
add(
    "cct",
    "CCT",
    img_size=224,
    embedding_dim=192,
    n_conv_layers=2,
    kernel_size=7,
    stride=2,
    padding=3,
    pooling_kernel_size=3,
    pooling_stride=2,
    pooling_padding=1,
    num_layers=3,
    num_heads=3,
    mlp_ratio=3.0,
    positional_embedding="learnable",
    **OUT,
)
add(
    "cross_vit",
    "CrossViT",
    SQUARE_256,
    image_size=256,
    depth=1,
    sm_dim=96,
    sm_patch_size=16,
    sm_enc_depth=2,
    sm_enc_heads=3,
    sm_enc_mlp_dim=384,
    lg_dim=192,
    lg_patch_size=64,
    lg_enc_depth=3,
    lg_enc_heads=3,
    lg_enc_mlp_dim=384,
    cross_attn_depth=2,
    cross_attn_heads=3,
    **OUT,
)
add("pit", "PiT", **VIT | {"patch_size": 14, "dim": 128, "depth": (1, 1, 1), "heads": 4})
add(
    "levit",
    "LeViT",
    image_size=224,
    stages=3,
    dim=(128, 192, 256),
    depth=1,
    heads=(4, 6, 8),
    mlp_mult=2,
    **OUT,
)
add(
    "cvt",
    "CvT",
    s1_emb_dim=64,
    s2_emb_dim=128,
    s2_heads=2,
    s3_emb_dim=192,
    s3_heads=3,
    s3_depth=1,
    **OUT,
)
add(
    "twins_svt",
    "TwinsSVT",
    s1_emb_dim=32,
    s2_emb_dim=64,
    s3_emb_dim=128,
    s4_emb_dim=256,
    s3_depth=1,
    s4_depth=1,
    **OUT,
)
add("regionvit", "RegionViT", dim=(32, 64, 128, 256), depth=(1, 1, 1, 1), window_size=7, **OUT)
add(
    "crossformer",
    "CrossFormer",
    dim=(32, 64, 128, 256),
    depth=(1, 1, 2, 1),
    global_window_size=(8, 4, 2, 1),
    local_window_size=7,
    **OUT,
)
add(
    "scalable_vit",
    "ScalableViT",
    SQUARE_256,
    dim=32,
    heads=(1, 2, 4, 8),
    depth=(1, 1, 2, 1),
    ssa_dim_key=(40, 40, 40, 32),
    reduction_factor=(8, 4, 2, 1),
    window_size=(64, 32, None, None),
    **OUT,
)
add(
    "sep_vit",
    "SepViT",
    dim=32,
    dim_head=32,
    heads=(1, 2, 4, 8),
    depth=(1, 2, 2, 1),
    window_size=7,
    **OUT,
)
add("max_vit", "MaxViT", depth=(1, 1, 1, 1), **STEM)
add("max_vit_with_registers", "MaxViT", depth=(1, 1, 2, 1), **STEM)
add(
    "nest",
    "NesT",
    image_size=224,
    patch_size=4,
    dim=64,
    heads=2,
    num_hierarchies=3,
    block_repeats=(1, 1, 2),
    **OUT,
)
add(
    "mobile_vit",
    "MobileViT",
    SQUARE_256,
    image_size=(256, 256),
    dims=[96, 120, 144],
    channels=MOBILE_CHANNELS,
    depths=(1, 1, 1),
    **OUT,
)
add(
    "look_vit",
    "LookViT",
    SQUARE_256,
    image_size=256,
    dim=192,
    depth=2,
    heads=3,
    patch_size=32,
    highres_patch_size=16,
    mlp_factor=4,
    cross_attn_heads=3,
    **OUT,
)
add("jet_vit", "JetViT", refusal="number of images", attn_layers=["LA", "FA", "WA"], **VIT)
add("ats_vit", refusal="random", max_tokens_per_depth=(196, 64, 8), **VIT)
add("na_vit", "NaViT", refusal="number of images", **VIT)
add("na_vit_nested_tensor", "NaViT", refusal="nested", **VIT)
add(
    "vit_nd_rotary",
    "ViTND",
    refusal=r"aten\.sort.* at vit_pytorch/vit_nd_rotary\.py:\d+",
    ndim=2,
    input_shape=(224, 224),
    patch_size=16,
    **SIZES,
)
