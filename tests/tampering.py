"""`python tampering.py KIND COMMAND…`: the command line, its builder secretly doing KIND.

Run by test_tampering.py: what comes out has to be rejected.
"""

import copy
import dataclasses
import sys

import torch
from torch import nn

from vit_export import targets
from vit_export.batch import Batch
from vit_export.cli import main
from vit_export.graph import capture as capturing
from vit_export.vit import lower as lowering


def tampered_weight(vit):
    vit.blocks[0].mlp.expand.weight[0, 0] += 0.5


def scaled_logit(vit):
    vit.head.classifier.weight[1] *= 1.001
    vit.head.classifier.bias[1] *= 1.001


def one_nan(vit):
    vit.head.classifier.bias[2] = float("nan")


class ShiftedBatch(nn.Module):
    """Each image gets its neighbour's answer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, image):
        answer = self.inner(image)
        return torch.cat([answer[1:], answer[:1]])


class BakedBatch(ShiftedBatch):
    """Knows only the batch it was traced with."""

    def forward(self, image):
        return self.inner(image.reshape(2, *image.shape[1:]))


def wrapping(wrapper):
    original = lowering.lower
    lowering.lower = lambda vit: wrapper(original(vit)).eval()


def tamper(kind, vit, manifest):
    """What the builder gets instead of `vit`; or the stages it calls are changed."""
    if kind == "shifted_batch":
        wrapping(ShiftedBatch)
    elif kind == "baked_batch" and manifest.target == "torchscript":
        wrapping(BakedBatch)
    elif kind == "baked_batch":
        original = capturing.capture
        capturing.capture = lambda *a, **k: original(*a, **k | {"batch": Batch.parse("1")})
    else:
        vit = copy.deepcopy(vit)
        with torch.no_grad():
            {"tampered_weight": tampered_weight, "scaled_logit": scaled_logit, "one_nan": one_nan}[
                kind
            ](vit)
    return vit


def install(kind):
    for name, target in targets.TARGETS.items():

        def build(vit, manifest, path, progress, target=target):
            target.build(tamper(kind, vit, manifest), manifest, path, progress)

        if kind != "nothing":
            targets.TARGETS[name] = dataclasses.replace(target, build=build)


if __name__ == "__main__":
    install(sys.argv.pop(1))
    main()
