"""`python tampering.py KIND COMMAND…`: the command line, with a builder that makes one mistake.

The file that comes out has to be rejected: test_tampering.py shows that.
"""

import copy
import dataclasses
import sys

import torch
from torch import nn

from vit_export.artifact.batch import Batch
from vit_export.backends import BACKENDS
from vit_export.cli import main
from vit_export.graph import make_graph as capturing


def change_weight(lowered):
    lowered.blocks[0].mlp.expand.weight[0, 0] += 0.5


def scale_logit(lowered):
    lowered.head.classifier.weight[1] *= 1.001
    lowered.head.classifier.bias[1] *= 1.001


def put_nan(lowered):
    lowered.head.classifier.bias[2] = float("nan")


IN_PLACE = {"tampered_weight": change_weight, "scaled_logit": scale_logit, "one_nan": put_nan}


class ShiftedBatch(nn.Module):
    """Each image gets its neighbour's answer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, image):
        answer = self.inner(image)
        return torch.cat([answer[1:], answer[:1]])


class BakedBatch(ShiftedBatch):
    """Knows only the batch size that it was traced with."""

    def forward(self, image):
        return self.inner(image.reshape(2, *image.shape[1:]))


def capture_batch_1_only():
    original = capturing.capture
    capturing.capture = lambda *a, **k: original(*a, **k | {"batch": Batch.parse("1")})


def tamper(kind, lowered, target):
    """The module that the builder gets instead of `lowered`."""
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
    for name, backend in BACKENDS.items():

        def build(job, path, progress, backend=backend):
            lowered = tamper(kind, job.lowered, backend.name)
            return backend.build(dataclasses.replace(job, lowered=lowered), path, progress)

        BACKENDS[name] = dataclasses.replace(backend, build=build)


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    if kind != "nothing":
        install(kind)
    main()
