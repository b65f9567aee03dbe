"""`python tampering.py KIND COMMAND…`: the command line, its builder secretly doing KIND.

Run by test_tampering.py: what comes out has to be rejected.
"""

import copy
import dataclasses
import sys

import torch
from torch import nn

from vit_export.artifact.batch import Batch
from vit_export.backends import BACKENDS
from vit_export.cli import main
from vit_export.graph import capture as capturing


def tampered_weight(lowered):
    lowered.blocks[0].mlp.expand.weight[0, 0] += 0.5


def scaled_logit(lowered):
    lowered.head.classifier.weight[1] *= 1.001
    lowered.head.classifier.bias[1] *= 1.001


def one_nan(lowered):
    lowered.head.classifier.bias[2] = float("nan")


IN_PLACE = {"tampered_weight": tampered_weight, "scaled_logit": scaled_logit, "one_nan": one_nan}


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


def capture_batch_1_only():
    original = capturing.capture
    capturing.capture = lambda *a, **k: original(*a, **k | {"batch": Batch.parse("1")})


def tampered(kind, lowered, target):
    """What the builder gets instead of `lowered`."""
    if kind == "shifted_batch":
        return ShiftedBatch(lowered).eval()
    if kind == "baked_batch" and target == "torchscript":
        return BakedBatch(lowered).eval()
    if kind == "baked_batch":
        capture_batch_1_only()
        return lowered
    lowered = copy.deepcopy(lowered)
    with torch.no_grad():
        IN_PLACE[kind](lowered)
    return lowered


def install(kind):
    for name, target in BACKENDS.items():

        def build(job, path, progress, target=target):
            lowered = tampered(kind, job.lowered, target.name)
            return target.build(dataclasses.replace(job, lowered=lowered), path, progress)

        BACKENDS[name] = dataclasses.replace(target, build=build)


if __name__ == "__main__":
    wanted = sys.argv.pop(1)
    if wanted != "nothing":
        install(wanted)
    main()
