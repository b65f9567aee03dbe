"""The values that the fields of `VitSpec` choose from."""

from typing import Literal

QkvLayout = Literal["interleaved", "stacked"]
AttentionScale = Literal["width", "head_dim"]
Mlp = Literal["gelu", "gelu_tanh", "quick_gelu", "swiglu"]
Positions = Literal["all", "no_registers", "patches", "none"]
Pool = Literal["mean", "token", "patch_mean", "token_patch_mean", "map", "none"]
Answer = Literal["logits", "features", "tokens"]
