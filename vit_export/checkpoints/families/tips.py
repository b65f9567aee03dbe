"""TIPSv2 of Hugging Face `transformers` (models/tipsv2): DINOv2 with registers and captions.

Its files keep the names of DINOv2's own code, with those of CLIP for the layers of an MLP. In
memory its modules have the names of `huggingface.DINOV2_WITH_REGISTERS`. Positions are resampled
bilinearly, where DINOv2 resamples them bicubically. `model_type` alone tells a tower with SwiGLU
from DINOv2 with registers.
"""

from vit_export.checkpoints.families import timm
from vit_export.checkpoints.families.base import Family
from vit_export.checkpoints.families.clip import TEXT
from vit_export.checkpoints.families.hf_config import TIPS_TYPES, read_config
from vit_export.checkpoints.families.huggingface import SIZES
from vit_export.model.vit.adapt import Resampling

TOWER = r"(?:vision_encoder\.)?"
BLOCK = TOWER + r"blocks\.(\d+)\."
TIPS = Family(
    name="Hugging Face TIPSv2",
    library="transformers",
    marks=(
        TOWER + r"blocks\.0\.mlp\.(c_fc|w12)\.weight",
        TOWER + r"register_tokens",
        TOWER + r"blocks\.0\.ls1\.gamma",
    ),
    names={TOWER + theirs: ours for theirs, ours in timm.DINOV2.names.items()}
    | {
        BLOCK + r"mlp\.c_fc\.(\w+)": r"blocks.\1.mlp.expand.\2",
        BLOCK + r"mlp\.c_proj\.(\w+)": r"blocks.\1.mlp.contract.\2",
    },
    unused={
        TOWER + r"mask_token": "it stands for hidden patches, in training only",
        r"text_encoder\..*": TEXT,
        r"temperature": "it scales the similarity of an image and a text",
    },
    required=timm.DINOV2.required,
    model_types=TIPS_TYPES,
    config_sizes={theirs: ours for theirs, ours in SIZES.items() if ours != "mlp_hidden"},
    conventions=timm.DINOV2.conventions,
    fixed=frozenset({"pool"}),
    config_facts=read_config,
    takes_any_size=True,
    resampling=Resampling(mode="bilinear", drops_rim=True),
    processor="Tipsv2",
    preprocessing={
        "resize": [224, 224],
        "interpolation": "bilinear",
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    },
)
