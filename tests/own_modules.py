"""Code as users write it: modules of no known family, right ones and each kind of wrong one.

`tests/test_modules.py` names this file with `--module`; nothing imports it otherwise.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Images (B, 3, 32, 32) to five numbers."""

    def __init__(self, width=8, mode="relu"):
        super().__init__()
        self.mode = mode
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)

    def features(self, images):
        tokens = self.norm(self.patches(images).flatten(2).mT)
        return getattr(functional, self.mode)(tokens).mean(1)

    def forward(self, images):
        return self.head(self.features(images))


def build(width=8, **arguments):
    return Net(width, **arguments)


def build_with_weights():
    torch.manual_seed(5)
    return Net()


instance = Net()
number = 3


def give_weights():
    return Net().state_dict()


class Parts(Net):
    """Tensors inside of lists and mappings."""

    def forward(self, images):
        patches = self.patches(images)
        tokens = self.norm(patches.flatten(2).mT)
        maps = [patches, tokens.mT]
        return {"maps": maps, "tokens": tokens, "logits": self.head(tokens.mean(1))}


class Fourier(Net):
    """An operator that no reader of TorchScript files lets in."""

    def forward(self, images):
        return self.head(torch.fft.fft(self.features(images)).real)


class Prints(Net):
    def forward(self, images):
        print("images", tuple(images.shape))  # noqa: T201 as users leave it
        return super().forward(images)


def fail(width):
    raise ValueError(f"no net is {width} wide")


class NeedsArguments(nn.Module):
    def __init__(self, width, depth, mode="relu"):
        super().__init__()
        self.sizes = (width, depth, mode)


class Shared(Net):
    """One norm before and behind the mean."""

    def features(self, images):
        return self.norm(super().features(images))


class Video(nn.Module):
    """Clips (B, 3, 4, 16, 16) to five numbers."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv3d(3, 8, (2, 8, 8), (2, 8, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, clips):
        tokens = self.patches(clips).flatten(2).mT
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(tokens.mean(1))


class Sequence(nn.Module):
    """Sequences (B, 12, 6) to tokens (B, 12, 8)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8))

    def forward(self, sequences):
        return self.layers(sequences)


class Vector(nn.Sequential):
    """Vectors (B, 7) to three numbers."""

    def __init__(self):
        super().__init__(nn.Linear(7, 16), nn.GELU(), nn.Linear(16, 3))


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, indices):
        return self.table(indices).mean(1)


class Grey(Net):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 8, 8)


class DoubleFails(Net):
    """Its own code converts to fp32, where fp64 weights do not go on."""

    def forward(self, images):
        return self.head(self.features(images).float())


class Logits(Net):
    """The only tensor of a dictionary."""

    def forward(self, images):
        return {"logits": super().forward(images), "features": self.features(images)}


class Loop(Net):
    def forward(self, images):
        return torch.cat([self.head(self.features(image[None])) for image in images])


class Groups(Net):
    """The batch as a number of groups, as JetViT has it."""

    def forward(self, images):
        count = int(images.shape[0])
        weight = self.patches.weight.repeat(count, 1, 1, 1)
        maps = functional.conv2d(images.flatten(0, 1)[None], weight, None, 8, groups=count)
        return self.head(maps.unflatten(1, (count, -1))[0].flatten(2).mean(2))


class Branch(Net):
    def forward(self, images):
        features = self.features(images)
        if features[0, 0] > 1000:
            features = features * 2
        return self.head(features)


class ThroughNumpy(Net):
    def forward(self, images):
        return self.head(torch.from_numpy(np.tanh(self.features(images).numpy())))


class Random(Net):
    def forward(self, images):
        features = self.features(images)
        return self.head(features + torch.rand_like(features))


class Counts(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, images):
        self.calls += 1
        return super().forward(images)


class Coupled(Net):
    def forward(self, images):
        features = self.features(images)
        return self.head(features - features.mean(0, keepdim=True))


class BatchSecond(Net):
    def forward(self, images):
        return super().forward(images).T


class Several(Net):
    def forward(self, images):
        return super().forward(images), self.features(images)


class Nothing(Net):
    def forward(self, images):
        return {"shape": images.shape}


class Integers(Net):
    def forward(self, images):
        return super().forward(images).argmax(-1)


class TwoInputs(Net):
    def forward(self, images, mask):
        return super().forward(images * mask)


class NotFinite(Net):
    def forward(self, images):
        return super().forward(images) / 0


class Noisy(Net):
    """A small difference of large numbers: rounding is a large share of the answer."""

    def forward(self, images):
        features = 1e4 * self.features(images)
        return self.head(1e-4 * features) + (features + 1e4 - features - 1e4).mean(1, keepdim=True)
