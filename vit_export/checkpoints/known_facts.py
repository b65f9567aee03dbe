"""What is known of a checkpoint's model besides its tensors, by source.

Later sources override earlier ones: a preset, the conventions of the family, config.json (or the
one that `--arch` stands for), options.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_export.checkpoints.assumptions import BLOCK, KEYS
from vit_export.core.errors import RequestError
from vit_export.model.vit.presets import Preset
from vit_export.model.vit.spec import VitSpec

if TYPE_CHECKING:  # torch is heavy, and a bad request is refused without it
    from vit_export.checkpoints.families.base import Config, Facts, Family

INVISIBLE = ("heads", "mlp")
"""Fields of VitSpec that neither tensors nor the conventions of every family determine."""
CONVENTIONS = (*INVISIBLE, "qkv_layout", "attention_scale", "norm_eps", "pool")
"""Fields of VitSpec that no tensor determines."""
ARCHITECTURE = ("width", "depth", "patch_size", "channels", "mlp_hidden")
"""Sizes in which a checkpoint and a preset have to agree."""
PARTS = ("norm_before_blocks", "layer_scale", "class_token", "distillation_token")
"""Parts that a checkpoint and a preset both have to have; else its activation is another's."""


@dataclass(frozen=True, kw_only=True)
class KnownFacts:
    """Fields of VitSpec that tensors need not show, by source."""

    family: "Family"
    preset: Preset | None
    shown: "Facts"
    """Sizes and parts that the tensors show."""
    recorded: "Facts"
    """Facts about this very checkpoint: from a config.json, `--arch` or options."""
    names_architecture: bool
    """Whether timm's name of the architecture is known, which settles the kind of the blocks."""
    follows_library: bool
    """Whether a config.json shows that the library's own defaults apply where it is silent."""

    @property
    def merged(self) -> "Facts":
        """The facts of all sources; the conventions of a family override a preset.

        A fact that is asked for is None unless a preset, a config.json or an option gives it.
        """
        names = INVISIBLE if self.family.conventions else CONVENTIONS
        preset = {name: getattr(self.preset.spec, name) for name in names} if self.preset else {}
        asked = {one.field for one in self.family.questions if one.applies(self.shown)}
        conventions = {n: v for n, v in self.family.conventions.items() if n not in asked}
        return dict.fromkeys(asked) | preset | conventions | self.recorded

    def check_block(self, where: str) -> None:
        """Raise RequestError if published models with these parts have blocks of several kinds."""
        if self.names_architecture:
            return
        for one in self.family.questions:
            if one.field == BLOCK and one.applies(self.shown):
                message = f"{where}: models with {one.when} have norms before attention and MLP, "
                message += "or behind them (vit_base_patch16_rpn_224); no tensor shows where."
                fix = "give --arch timm:NAME, or save it with timm.models.save_for_hf."
                raise RequestError(message, fix)

    def list_settled(self, spec: VitSpec) -> set[str]:
        """Return the names of what is not assumed: something besides conventions gives it."""
        settled = {*self.recorded}
        if self.names_architecture:
            settled.add(BLOCK)
        if self.recorded.get("likely_size") == spec.image_size:
            settled.add("image_size")
        if self.follows_library:
            settled |= {*self.family.conventions}
        if self.preset is not None:  # it gives a value, or confirms that of the family
            expected = self.preset.spec
            settled |= {name for name in KEYS if getattr(spec, name) == getattr(expected, name)}
        return settled


def gather_facts(
    family: "Family",
    config: "Config",
    preset: Preset | None,
    hints: Mapping[str, Any],
    shown: "Facts",
) -> KnownFacts:
    """Return what is known of a checkpoint of `family` besides its tensors.

    Args:
        family: the family of the checkpoint.
        config: content of its config.json, or what `--arch` stands for; empty without both.
        preset: a model of the same architecture; None without one.
        hints: fields of VitSpec that options set.
        shown: sizes and parts that the tensors show.

    Raises:
        RequestError: the architecture is not supported.
    """
    inner = config.get("vision_config", config)
    types = {one.get("model_type") for one in (config, inner) if isinstance(one, Mapping)}
    return KnownFacts(
        family=family,
        preset=preset,
        shown=shown,
        recorded={**family.config_facts(config), **hints},
        names_architecture="architecture" in config,
        follows_library="architecture" not in config and bool(types & {*family.model_types}),
    )


def check_preset(shown: "Facts", preset: Preset, path: Path) -> None:
    """Raise RequestError unless sizes and parts of a checkpoint are those of the preset.

    Args:
        shown: fields of VitSpec that the checkpoint's tensors show.
        preset: the preset that completes it.
        path: the checkpoint, for the error.
    """
    expected = asdict(preset.spec) | {"mlp_hidden": preset.spec.hidden}
    for name in (*ARCHITECTURE, *PARTS):
        if shown[name] != expected[name]:
            raise RequestError(
                f"{path} does not fit {preset.name}: {name} is {shown[name]}, "
                f"not {expected[name]}.",
                "give the --model that these weights were trained as, or leave --model out.",
            )
