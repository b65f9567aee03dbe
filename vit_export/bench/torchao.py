"""The eager model in int8 under torch.compile: torchao's way through torch.export (PT2E).

Static scales for activations, one scale per output channel for weights, the settings that torchao
ships for x86; compiled with freezing, which is what makes torch.compile take int8 operators.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_export.bench.candidates import Contestant, Opened
from vit_export.bench.modules import in_torch, vit_of
from vit_export.core.packages import versions_of

if TYPE_CHECKING:
    import torch


def torchao(contestant: Contestant) -> Opened:
    """The model, calibrated and compiled for the batch it is calibrated on.

    Half a minute for a ViT-B, nearly all of it torch.compile; another batch compiles when it comes.
    """
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True  # noqa: SLF001 its one public place is an environment variable
    batches = np.load(contestant.calibration)
    with warnings.catch_warnings():  # of torchao's and torch.compile's own code
        warnings.simplefilter("ignore")
        quantized = _quantized(vit_of(contestant), torch.from_numpy(batches))
        # not `dynamic`: every batch size gets code of its own, the fastest
        run = in_torch(torch.compile(quantized, dynamic=False))
        run(batches[0])
    return run, f"torchao {versions_of(['torchao'])['torchao']}, torch {torch.__version__}"


def _quantized(vit: Any, batches: "torch.Tensor") -> Any:
    """`vit` with Q/DQ where the x86 quantizer puts them; scales from `batches` (M, B, C, H, W)."""
    import torch
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    images = batches.flatten(0, 1)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    with torch.no_grad():
        dynamic = ({0: torch.export.Dim("batch", min=1)},)
        exported = torch.export.export(vit, (images[:2],), dynamic_shapes=dynamic)
        prepared = prepare_pt2e(exported.module(), quantizer)
        for image in images:
            prepared(image[None])
        return move_exported_model_to_eval(convert_pt2e(prepared))
