"""The options that describe a model: its architecture, its checkpoint, and changes to it."""

import click

from vit_export.cli.options.paths import INPUT
from vit_export.model.vit.presets import DEFAULT

LARGEST_SEED = 2**63 - 1

MODEL = click.option(
    "--model",
    show_default=f"{DEFAULT}; with --weights alone the checkpoint decides",
    metavar="NAME|FILE.toml",
    help="The architecture; `vit-export models` lists them.",
)
FROM = click.option(
    "--from",
    "source",
    type=INPUT,
    metavar="FILE.onnx",
    help="An ONNX file of another tool, in fp32, as the model: its own answers are right.",
)
MODULE = click.option(
    "--module",
    metavar="FILE.py:NAME|package.module:NAME",
    help="Your own code, which runs: a class, a function that returns the nn.Module, or the "
    "module. timm:NAME and transformers:DIR take the library's own model.",
)
SET = click.option(
    "--set",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument of --module, such as depth=12; repeat it for several.",
)
INPUT_SHAPE = click.option(
    "--input",
    "input_shape",
    metavar="CxHxW",
    help="Shape of one image for --module, if --image-size with three channels does not say it; "
    "or of any other sample, such as 3x16x112x112 or 128x64.",
)
OWN_CODE = (MODULE, SET, INPUT_SHAPE)
"""The user's own code as the model, and how it is built."""
SAME_ARCHITECTURE = click.option(
    "--model",
    metavar="NAME|FILE.toml",
    help="A model of the same architecture, for what the checkpoint does not record.",
)
WEIGHTS = click.option(
    "--weights",
    type=INPUT,
    metavar="FILE|DIR",
    help="Checkpoint: safetensors, a pickled state dict (.pt, .pth, .bin), or a folder of them.",
)
HEADS = click.option(
    "--heads",
    type=int,
    metavar="N",
    help="Number of attention heads, if the checkpoint does not record it.",
)
ACTIVATION = click.option(
    "--activation",
    type=click.Choice(["gelu", "gelu_tanh", "quick_gelu", "swiglu"]),
    help="Activation of the MLPs, if the checkpoint does not record it.",
)
POOL = click.option(
    "--pool",
    type=click.Choice(
        ["token", "mean", "patch_mean", "patch_mean_norm", "token_patch_mean", "map"]
    ),
    help="Pooling of the model, if it is not its family's; patch_mean_norm is OpenCLIP's "
    "final_ln_after_pool.",
)
NORM_EPS = click.option(
    "--norm-eps",
    type=float,
    metavar="X",
    help="Epsilon of the LayerNorms, if it is not its family's.",
)
TRAINED_SIZE = click.option(
    "--trained-size",
    metavar="HxW",
    help="Image size of the training, if it was not square.",
)
ARCH = click.option(
    "--arch",
    metavar="LIBRARY:NAME",
    help="The library's own model, if no config.json names it: timm:NAME or transformers:CLASS.",
)
PREFIX = click.option(
    "--prefix",
    metavar="PREFIX",
    help="Read only the tensors with this prefix, such as student.",
)
HEAD_FROM = click.option(
    "--head-from",
    metavar="MODULE",
    help="The module whose tensors are the classifier, such as classifier.",
)
BASE = click.option(
    "--base",
    type=INPUT,
    metavar="FILE|DIR",
    help="The checkpoint that an adapter (LoRA) in --weights belongs to.",
)
STRICT = click.option(
    "--strict",
    is_flag=True,
    help="Stop where something about the checkpoint would be assumed.",
)
CHECK = click.option(
    "--check",
    type=click.Choice(["off", "auto", "require"]),
    default="auto",
    show_default="auto",
    help="Compare what was read from --weights with the library's own model.",
)
PROBLEM_TYPE = click.option(
    "--problem-type",
    type=click.Choice(["single_label", "multi_label", "regression"]),
    help="What the logits are for, if no config.json says it: scores by softmax, by sigmoid, or "
    "plain numbers.",
)
READING = (ARCH, PREFIX, HEAD_FROM, BASE, CHECK)
"""How a checkpoint is read, and whether its library confirms that."""
HINTS = (
    *(HEADS, ACTIVATION, POOL, NORM_EPS, TRAINED_SIZE),
    *(ARCH, PREFIX, HEAD_FROM, BASE, STRICT),
    PROBLEM_TYPE,
)
"""Facts about a checkpoint that it may not record itself."""
SEED = click.option(
    "--seed",
    default=0,
    type=click.IntRange(0, LARGEST_SEED),
    metavar="N",
    show_default="0",
    help="Seed of random weights.",
)
IMAGE_SIZE = click.option(
    "--image-size",
    metavar="HxW",
    help="Image size of the exported model, height first; 384 is square.",
)
CLASSES = click.option(
    "--classes",
    type=int,
    metavar="N",
    help="Number of classes; trained weights accept only their own number.",
)
OUTPUTS = click.option(
    "--outputs",
    metavar="LIST",
    help="What the file answers, with commas: logits, features, tokens, token, patches, "
    "layers:3,6, normed-layers:3,6, attentions:12; or parts of what --module answers.",
)
LABELS = click.option(
    "--labels",
    type=INPUT,
    metavar="FILE",
    help="Class names: one per line, or JSON.",
)
MEAN = click.option(
    "--mean",
    metavar="X,X,X",
    help="Mean of pixels scaled to 0..1: one number, or one per channel.",
)
STD = click.option(
    "--std",
    metavar="X,X,X",
    help="Standard deviation of pixels scaled to 0..1: one number, or one per channel.",
)
RESIZE = click.option(
    "--resize", metavar="N|HxW", help="Size of the shorter side before the crop, or of both sides."
)
CROP = click.option(
    "--crop", metavar="HxW|SHARE", help="Size of the crop, or its share of the resized image."
)
INTERPOLATION = click.option(
    "--interpolation",
    type=click.Choice(["nearest", "bilinear", "bicubic", "lanczos"]),
    help="Interpolation of the resize.",
)
PREPROCESSING = (MEAN, STD, RESIZE, CROP, INTERPOLATION)
