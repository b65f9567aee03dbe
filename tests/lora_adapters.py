"""Writes tests/data/lora: a tiny model, adapters that PEFT made for it, and PEFT's own answers.

PEFT is no package of the tests. Run this again where it is installed: python tests/lora_adapters.py
"""

import json
from pathlib import Path

import torch
import transformers
from torch import nn

FOLDER = Path(__file__).with_name("data") / "lora"
SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 8, "intermediate_size": 24, "num_channels": 1}
IMAGES = torch.linspace(-1, 1, 512).reshape(2, 1, 16, 16).sin()
ADAPTERS = {
    "classes": {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["classifier"]},
    "biases": {"target_modules": "all-linear", "use_rslora": True, "bias": "all"},
    "patterns": {
        "target_modules": ["q_proj", "fc1"],
        "rank_pattern": {"layers.0.attention.q_proj": 2},
        "alpha_pattern": {"layers.1.attention.q_proj": 3},
    },
    "convolution": {"target_modules": ["projection"]},
    "bias_of_b": {"target_modules": ["v_proj"], "lora_bias": True, "bias": "lora_only"},
    "DoRA": {"target_modules": ["v_proj"], "use_dora": True},
}


def randomize(module: nn.Module) -> None:
    """Draw every parameter that is trained."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, 0.02, 0.4)


def main() -> None:
    """Write the folder."""
    import peft

    torch.manual_seed(0)
    base = transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES, num_labels=3))
    randomize(base)
    base.save_pretrained(FOLDER / "base")
    answers = {}
    for name, settings in ADAPTERS.items():
        labels = {"num_labels": 5} if name == "classes" else {}
        model = transformers.ViTForImageClassification.from_pretrained(
            FOLDER / "base", **labels, ignore_mismatched_sizes=True
        )
        model = peft.get_peft_model(model, peft.LoraConfig(r=3, lora_alpha=5, **settings))
        randomize(model)
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "README.md").unlink()
        config = FOLDER / name / "adapter_config.json"
        values = json.loads(config.read_text()) | {"base_model_name_or_path": "base"}
        config.write_text(json.dumps(values, indent=1) + "\n")
        with torch.no_grad():
            answers[name] = model.eval()(IMAGES).logits.tolist()
    (FOLDER / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
