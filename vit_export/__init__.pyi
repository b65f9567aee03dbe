"""Written by scripts/stubs.py from the signatures of the functions themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from vit_export.api.bench import bench as bench
from vit_export.api.cpp import cpp as cpp
from vit_export.api.doctor import doctor as doctor
from vit_export.api.emulate import emulate as emulate
from vit_export.api.inspect import inspect as inspect
from vit_export.api.locate import locate as locate
from vit_export.api.models import models as models
from vit_export.api.predict import predict as predict
from vit_export.api.register_exporter import register_exporter as register_exporter
from vit_export.api.result import ExportResult
from vit_export.api.summary import summary as summary
from vit_export.api.validate import validate as validate
from vit_export.artifact.precision import Part, Scales
from vit_export.checkpoints.hints import Check
from vit_export.checkpoints.load import ModelLike
from vit_export.checkpoints.overrides import (
    Numbers,
    Outputs,
)
from vit_export.core.errors import BuildError as BuildError
from vit_export.core.errors import MissingError as MissingError
from vit_export.core.errors import ProofError as ProofError
from vit_export.core.errors import RequestError as RequestError
from vit_export.core.errors import VitExportError as VitExportError
from vit_export.core.progress import Progress
from vit_export.model.signature import ProblemType
from vit_export.model.vit.rotary import Rotary as Rotary
from vit_export.model.vit.spec import VitSpec as VitSpec

__all__ = [
    "BuildError",
    "MissingError",
    "ProofError",
    "RequestError",
    "Rotary",
    "VitExportError",
    "VitSpec",
    "bench",
    "cpp",
    "doctor",
    "emulate",
    "inspect",
    "locate",
    "models",
    "onnx",
    "predict",
    "register_exporter",
    "summary",
    "torchscript",
    "trt",
    "validate",
]

def onnx(
    model: ModelLike | None,
    out: str | Path,
    *,
    source: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    input_shape: str | None = None,
    example: Tensor | None = None,
    weights: str | Path | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    arch: str | None = None,
    prefix: str | None = None,
    head_from: str | None = None,
    base: str | Path | None = None,
    strict: bool = False,
    problem_type: ProblemType | None = None,
    check: Check = "auto",
    seed: int = 0,
    image_size: str | None = None,
    classes: int | None = None,
    outputs: Outputs | None = None,
    labels: str | Path | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    resize: str | int | None = None,
    crop: str | float | None = None,
    interpolation: str | None = None,
    batch: str | Sequence[str] = "dynamic",
    precision: str | None = None,
    scales: Scales = "batch",
    calibration: str | Path | None = None,
    include: Sequence[Part] = (),
    io_fp16: bool = False,
    min_snr: float | None = None,
    min_top1: float | None = None,
    plot: str | Path | None = None,
    plan: str | Path | None = None,
    images: str | Path | None = None,
    labels_csv: str | Path | None = None,
    opset: int = 20,
    flavour: Literal["portable", "onnxruntime", "openvino", "tensorrt"] = "portable",
    simplify: bool = True,
    preprocess: Literal["none", "graph"] = "none",
    head: Literal["logits", "softmax", "sigmoid", "top5"] = "logits",
    threads: int | None = None,
    progress: Progress = ...,
) -> ExportResult:
    """Export a model to ONNX and prove it; the file takes its name only if proven.

    An ONNX file in standard operators, for ONNX Runtime, OpenVINO, TensorRT and others.

    Args:
        model: a preset's name or TOML file, a module in memory, or (VitSpec, state dict). None with
            `weights` leaves the choice to the checkpoint, and with `module` to that.
        out: the file to write. Only a proven result takes this name.
        source: an ONNX file of another tool in fp32, in place of `model`; its own answers are the
            right ones.
        module: the user's own code, which runs: `FILE.py:NAME` or `package.module:NAME` of a class,
            a function or a module; or the model of a library, `timm:NAME` or `transformers:DIR`.
        arguments: arguments of that class or function by name.
        input_shape: "CxHxW" of one image for `module`, if `image_size` with three channels does not
            say it; or the sides of any other sample, without the batch.
        example: a batch of images (B, C, H, W), or of other samples, for a module in memory, if it
            is of no known family. Only its shape counts.
        weights: a checkpoint file or folder. None takes the preset's shipped weights, or else
            random ones.
        heads: number of attention heads, if the checkpoint does not record it.
        activation: activation of the MLPs, if the checkpoint does not record it: `gelu`,
            `gelu_tanh`, `quick_gelu` or `swiglu`.
        pool: a value of `VitSpec.pool`, if the model does not pool its tokens as its family does.
        norm_eps: epsilon of the LayerNorms, if it is not the family's.
        trained_size: "HxW" of the training images, if they were not square.
        arch: the library's own model that the checkpoint was saved from, `timm:NAME` or
            `transformers:CLASS`, if no config.json names it.
        prefix: prefix of the tensors to read, such as "student."; the others are left out.
        head_from: name of the module whose tensors are the classifier, such as "classifier".
        base: the checkpoint that an adapter (LoRA) in `weights` belongs to.
        strict: whether what would be assumed about a checkpoint is an error instead.
        problem_type: what the logits are for, if no config.json says it: `single_label` (softmax),
            `multi_label` (sigmoid) or `regression` (plain numbers).
        check: whether the library's own model has to answer as what was read from a checkpoint:
            `auto` where the library is installed, `require`, or `off`.
        seed: seed of random weights.
        image_size: "HxW" of the exported model.
        classes: number of classes. Trained weights accept only their own number.
        outputs: what the file answers, as a list or as text: `logits`, `features` (pooled, without
            the classifier), `tokens` (all of them), `token` (the class token), `patches`,
            `layers:3,6`, `normed-layers:3,6` and `attentions:12`; of `module`, parts of its answer.
        labels: a file of class names, one per line or as JSON.
        mean: mean of the pixels, scaled to 0..1: one number, or one per channel.
        std: standard deviation of the pixels, scaled to 0..1: one number, or one per channel.
        resize: the shorter side before the crop in pixels, or "HxW".
        crop: size of the crop in pixels, or its share of the resized image (0.875, 1.0).
        interpolation: `bilinear`, `bicubic`, `lanczos` or `nearest`.
        batch: `dynamic`, N or MIN:OPT:MAX. Targets with optimization profiles take several.
        precision: a name in `artifact.precision.PRECISIONS`; None means fp32.
        scales: run-time scales of int8: one per `batch`, or one per `token`.
        calibration: a folder of images to calibrate on.
        include: parts to quantize besides the blocks' linear layers: `patches`, `head` and
            `attention`.
        io_fp16: inputs and outputs of an fp16 file are fp16 too.
        min_snr: for auto, the least signal-to-noise ratio of every sample in dB; None means 25.
        min_top1: for auto, the least share of images that keep their top class; None means 0.99.
        plot: for auto, a figure file to write, of latency against accuracy.
        plan: for auto, an earlier file whose choice of precisions is repeated without a search. The
            same request then gives the same bytes.
        images: a folder of images to measure accuracy on, for `ExportResult.images`. A sub-folder
            is called after the class of its images, by name or index. Some images join the proof.
        labels_csv: a CSV file with the labels of `images`: a file name and a class in each row.
        opset: Version of the ONNX operator set. 18 to 22.
        flavour: Runtime to optimize the graph for; onnxruntime uses operators of its own.
        simplify: Simplify the graph with onnxsim; the result is proven.
        preprocess: graph: the file takes 8-bit images of any size and resizes them as Pillow does.
        head: What the file answers: logits, probabilities, or the five best classes and scores.
            sigmoid gives each class a probability of its own.
        threads: threads of the runtime that runs the file; None for the runtime's default.
        progress: opened around every stage.

    Raises:
        RequestError: the request makes no sense.
        MissingError: this machine lacks a package or a GPU that the request needs.
        BuildError: the file could not be built or written.
        RejectedError: the file does not answer as the model does. It is kept as OUT.rejected.
    """

def torchscript(
    model: ModelLike | None,
    out: str | Path,
    *,
    source: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    input_shape: str | None = None,
    example: Tensor | None = None,
    weights: str | Path | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    arch: str | None = None,
    prefix: str | None = None,
    head_from: str | None = None,
    base: str | Path | None = None,
    strict: bool = False,
    problem_type: ProblemType | None = None,
    check: Check = "auto",
    seed: int = 0,
    image_size: str | None = None,
    classes: int | None = None,
    outputs: Outputs | None = None,
    labels: str | Path | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    resize: str | int | None = None,
    crop: str | float | None = None,
    interpolation: str | None = None,
    batch: str | Sequence[str] = "dynamic",
    precision: str | None = None,
    images: str | Path | None = None,
    labels_csv: str | Path | None = None,
    preprocess: Literal["none", "graph"] = "none",
    head: Literal["logits", "softmax", "sigmoid", "top5"] = "logits",
    threads: int | None = None,
    progress: Progress = ...,
) -> ExportResult:
    """Export a model to TorchScript and prove it; the file takes its name only if proven.

    A TorchScript archive, traced and frozen, for LibTorch in C++ and on phones.

    PyTorch has deprecated TorchScript in favour of torch.export; it is for those who still ship
    LibTorch. For everything new take onnx.

    Args:
        model: a preset's name or TOML file, a module in memory, or (VitSpec, state dict). None with
            `weights` leaves the choice to the checkpoint, and with `module` to that.
        out: the file to write. Only a proven result takes this name.
        source: an ONNX file of another tool in fp32, in place of `model`; its own answers are the
            right ones.
        module: the user's own code, which runs: `FILE.py:NAME` or `package.module:NAME` of a class,
            a function or a module; or the model of a library, `timm:NAME` or `transformers:DIR`.
        arguments: arguments of that class or function by name.
        input_shape: "CxHxW" of one image for `module`, if `image_size` with three channels does not
            say it; or the sides of any other sample, without the batch.
        example: a batch of images (B, C, H, W), or of other samples, for a module in memory, if it
            is of no known family. Only its shape counts.
        weights: a checkpoint file or folder. None takes the preset's shipped weights, or else
            random ones.
        heads: number of attention heads, if the checkpoint does not record it.
        activation: activation of the MLPs, if the checkpoint does not record it: `gelu`,
            `gelu_tanh`, `quick_gelu` or `swiglu`.
        pool: a value of `VitSpec.pool`, if the model does not pool its tokens as its family does.
        norm_eps: epsilon of the LayerNorms, if it is not the family's.
        trained_size: "HxW" of the training images, if they were not square.
        arch: the library's own model that the checkpoint was saved from, `timm:NAME` or
            `transformers:CLASS`, if no config.json names it.
        prefix: prefix of the tensors to read, such as "student."; the others are left out.
        head_from: name of the module whose tensors are the classifier, such as "classifier".
        base: the checkpoint that an adapter (LoRA) in `weights` belongs to.
        strict: whether what would be assumed about a checkpoint is an error instead.
        problem_type: what the logits are for, if no config.json says it: `single_label` (softmax),
            `multi_label` (sigmoid) or `regression` (plain numbers).
        check: whether the library's own model has to answer as what was read from a checkpoint:
            `auto` where the library is installed, `require`, or `off`.
        seed: seed of random weights.
        image_size: "HxW" of the exported model.
        classes: number of classes. Trained weights accept only their own number.
        outputs: what the file answers, as a list or as text: `logits`, `features` (pooled, without
            the classifier), `tokens` (all of them), `token` (the class token), `patches`,
            `layers:3,6`, `normed-layers:3,6` and `attentions:12`; of `module`, parts of its answer.
        labels: a file of class names, one per line or as JSON.
        mean: mean of the pixels, scaled to 0..1: one number, or one per channel.
        std: standard deviation of the pixels, scaled to 0..1: one number, or one per channel.
        resize: the shorter side before the crop in pixels, or "HxW".
        crop: size of the crop in pixels, or its share of the resized image (0.875, 1.0).
        interpolation: `bilinear`, `bicubic`, `lanczos` or `nearest`.
        batch: `dynamic`, N or MIN:OPT:MAX. Targets with optimization profiles take several.
        precision: a name in `artifact.precision.PRECISIONS`; None means fp32.
        images: a folder of images to measure accuracy on, for `ExportResult.images`. A sub-folder
            is called after the class of its images, by name or index. Some images join the proof.
        labels_csv: a CSV file with the labels of `images`: a file name and a class in each row.
        preprocess: graph: the file takes 8-bit images of any size and resizes them as Pillow does.
        head: What the file answers: logits, probabilities, or the five best classes and scores.
            sigmoid gives each class a probability of its own.
        threads: threads of the runtime that runs the file; None for the runtime's default.
        progress: opened around every stage.

    Raises:
        RequestError: the request makes no sense.
        MissingError: this machine lacks a package or a GPU that the request needs.
        BuildError: the file could not be built or written.
        RejectedError: the file does not answer as the model does. It is kept as OUT.rejected.
    """

def trt(
    model: ModelLike | None,
    out: str | Path,
    *,
    source: str | Path | None = None,
    module: str | None = None,
    arguments: Mapping[str, Any] | Sequence[str] = (),
    input_shape: str | None = None,
    example: Tensor | None = None,
    weights: str | Path | None = None,
    heads: int | None = None,
    activation: str | None = None,
    pool: str | None = None,
    norm_eps: float | None = None,
    trained_size: str | None = None,
    arch: str | None = None,
    prefix: str | None = None,
    head_from: str | None = None,
    base: str | Path | None = None,
    strict: bool = False,
    problem_type: ProblemType | None = None,
    check: Check = "auto",
    seed: int = 0,
    image_size: str | None = None,
    classes: int | None = None,
    outputs: Outputs | None = None,
    labels: str | Path | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    resize: str | int | None = None,
    crop: str | float | None = None,
    interpolation: str | None = None,
    batch: str | Sequence[str] = "dynamic",
    precision: str | None = None,
    calibration: str | Path | None = None,
    include: Sequence[Part] = (),
    io_fp16: bool = False,
    images: str | Path | None = None,
    labels_csv: str | Path | None = None,
    fp16: bool = False,
    bf16: bool = False,
    int8: bool = False,
    engine: Literal["auto", "tensorrt", "rtx", "torch"] = "auto",
    opset: int = 20,
    flavour: Literal["portable", "onnxruntime", "openvino", "tensorrt"] = "tensorrt",
    simplify: bool = True,
    workspace: int = 0,
    level: int = 3,
    timing_cache: str | Path = "",
    hardware: Literal["none", "ampere-plus", "same-capability"] = "none",
    version_compatible: bool = False,
    gpu: str | Path = "",
    refit: bool = False,
    strip_weights: bool = False,
    save_onnx: bool = False,
    require_run: bool = False,
    threads: int | None = None,
    progress: Progress = ...,
) -> ExportResult:
    """Export a model to TensorRT and prove it; the file takes its name only if proven.

    A TensorRT engine, strongly typed, built with or without a GPU.

    Without a GPU it is built by TensorRT for RTX; its graph is proven on the CPU, and `vit-export
    validate` finishes the proof on the device.

    Args:
        model: a preset's name or TOML file, a module in memory, or (VitSpec, state dict). None with
            `weights` leaves the choice to the checkpoint, and with `module` to that.
        out: the file to write. Only a proven result takes this name.
        source: an ONNX file of another tool in fp32, in place of `model`; its own answers are the
            right ones.
        module: the user's own code, which runs: `FILE.py:NAME` or `package.module:NAME` of a class,
            a function or a module; or the model of a library, `timm:NAME` or `transformers:DIR`.
        arguments: arguments of that class or function by name.
        input_shape: "CxHxW" of one image for `module`, if `image_size` with three channels does not
            say it; or the sides of any other sample, without the batch.
        example: a batch of images (B, C, H, W), or of other samples, for a module in memory, if it
            is of no known family. Only its shape counts.
        weights: a checkpoint file or folder. None takes the preset's shipped weights, or else
            random ones.
        heads: number of attention heads, if the checkpoint does not record it.
        activation: activation of the MLPs, if the checkpoint does not record it: `gelu`,
            `gelu_tanh`, `quick_gelu` or `swiglu`.
        pool: a value of `VitSpec.pool`, if the model does not pool its tokens as its family does.
        norm_eps: epsilon of the LayerNorms, if it is not the family's.
        trained_size: "HxW" of the training images, if they were not square.
        arch: the library's own model that the checkpoint was saved from, `timm:NAME` or
            `transformers:CLASS`, if no config.json names it.
        prefix: prefix of the tensors to read, such as "student."; the others are left out.
        head_from: name of the module whose tensors are the classifier, such as "classifier".
        base: the checkpoint that an adapter (LoRA) in `weights` belongs to.
        strict: whether what would be assumed about a checkpoint is an error instead.
        problem_type: what the logits are for, if no config.json says it: `single_label` (softmax),
            `multi_label` (sigmoid) or `regression` (plain numbers).
        check: whether the library's own model has to answer as what was read from a checkpoint:
            `auto` where the library is installed, `require`, or `off`.
        seed: seed of random weights.
        image_size: "HxW" of the exported model.
        classes: number of classes. Trained weights accept only their own number.
        outputs: what the file answers, as a list or as text: `logits`, `features` (pooled, without
            the classifier), `tokens` (all of them), `token` (the class token), `patches`,
            `layers:3,6`, `normed-layers:3,6` and `attentions:12`; of `module`, parts of its answer.
        labels: a file of class names, one per line or as JSON.
        mean: mean of the pixels, scaled to 0..1: one number, or one per channel.
        std: standard deviation of the pixels, scaled to 0..1: one number, or one per channel.
        resize: the shorter side before the crop in pixels, or "HxW".
        crop: size of the crop in pixels, or its share of the resized image (0.875, 1.0).
        interpolation: `bilinear`, `bicubic`, `lanczos` or `nearest`.
        batch: `dynamic`, N or MIN:OPT:MAX. Targets with optimization profiles take several.
        precision: a name in `artifact.precision.PRECISIONS`; None means fp32.
        calibration: a folder of images to calibrate on.
        include: parts to quantize besides the blocks' linear layers: `patches`, `head` and
            `attention`.
        io_fp16: inputs and outputs of an fp16 file are fp16 too.
        images: a folder of images to measure accuracy on, for `ExportResult.images`. A sub-folder
            is called after the class of its images, by name or index. Some images join the proof.
        labels_csv: a CSV file with the labels of `images`: a file name and a class in each row.
        fp16: short for precision 'fp16'.
        bf16: short for precision 'bf16'.
        int8: short for precision 'int8-static'.
        engine: The library that builds the engine: TensorRT or torch-tensorrt (both need a GPU), or
            TensorRT for RTX (needs none); auto takes the first of tensorrt, rtx, torch that works
            here.
        opset: Version of the ONNX operator set. 18 to 22.
        flavour: Runtime to optimize the graph for; onnxruntime uses operators of its own.
        simplify: Simplify the graph with onnxsim; the result is proven.
        workspace: Limit of scratch memory in MB; 0 for no limit. 0 to 1000000.
        level: Optimization level of tensorrt: higher builds longer, for a faster engine. 0 to 5.
        timing_cache: A file of kernel timings that tensorrt reads and writes.
        hardware: The GPUs on which an engine of tensorrt runs besides the one it is built on.
        version_compatible: Let later versions of tensorrt with the same major version load the
            engine too.
        gpu: GPUs that rtx builds for: turing, ampere, ada, blackwell, or compute capabilities such
            as 8.6.
        refit: Let the engine be refitted with other weights.
        strip_weights: Leave the weights out; the engine reads them from the graph beside it when
            opened.
        save_onnx: Keep the graph that the engine is built from, as OUT.onnx.
        require_run: Fail with exit code 3 if the engine can't run here.
        threads: threads of the runtime that runs the file; None for the runtime's default.
        progress: opened around every stage.

    Raises:
        RequestError: the request makes no sense.
        MissingError: this machine lacks a package or a GPU that the request needs.
        BuildError: the file could not be built or written.
        RejectedError: the file does not answer as the model does. It is kept as OUT.rejected.
    """
