"""The eager model in int8 under torch.compile: torchao's way through torch.export (PT2E).

The settings are those that torchao ships for x86: static scales for activations and one scale per
output channel for weights. Freezing is on, because torch.compile takes int8 operators only then.
"""

import warnings
from typing import TYPE_CHECKING, Any

from vit_export.backends.module_session import ModuleSession
from vit_export.core.numerics import Array

if TYPE_CHECKING:
    import torch
    from torch import nn


def compile_int8(module: "nn.Module", batches: Array) -> ModuleSession:
    """Quantize `module` with scales from `batches` (M, B, C, H, W), and compile it for size B.

    This takes half a minute for a ViT-B, most of it in torch.compile. A batch of another size is
    compiled at its first call.
    """
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True  # noqa: SLF001 its only public form is an environment variable
    with warnings.catch_warnings():  # raised by the code of torchao and of torch.compile
        warnings.simplefilter("ignore")
        quantized = _quantize(module, torch.from_numpy(batches))
        # not `dynamic`: code for each batch size is the fastest
        session = ModuleSession(torch.compile(quantized, dynamic=False))
        session.run(batches[0])
    return session


def _quantize(module: "nn.Module", batches: "torch.Tensor") -> Any:
    """Return `module` with Q/DQ where torchao's x86 quantizer puts it."""
    import torch
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    images = batches.flatten(0, 1)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    with torch.no_grad():
        dynamic = ({0: torch.export.Dim("batch", min=1)},)
        exported = torch.export.export(module, (images[:2],), dynamic_shapes=dynamic)
        prepared = prepare_pt2e(exported.module(), quantizer)
        for image in images:
            prepared(image[None])
        return move_exported_model_to_eval(convert_pt2e(prepared))
