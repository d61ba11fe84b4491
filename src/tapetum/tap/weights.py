"""Names of the published TAPIR weights, both ways, and files of our own.

The published PyTorch checkpoints (https://github.com/google-deepmind/tapnet) are plain state dicts. Their tensors are ours
under other names; nothing is reshaped. A file of ours is a safetensors file with the config as JSON in its header.
"""

import re

from torch import Tensor

from tapetum.errors import BadInput

_RULES = (
    (r"resnet_torch\.initial_conv", "backbone.stem"),
    (r"resnet_torch\.block_groups\.(\d+)\.blocks\.(\d+)\.bn_([01])", r"backbone.groups.\1.\2.norm_\3"),
    (r"resnet_torch\.block_groups\.(\d+)\.blocks\.(\d+)\.conv_([01])", r"backbone.groups.\1.\2.conv_\3"),
    (r"resnet_torch\.block_groups\.(\d+)\.blocks\.(\d+)\.proj_conv", r"backbone.groups.\1.\2.projection"),
    (r"extra_convs\.blocks\.(\d+)\.layer_norm", r"backbone.extra.\1.norm"),
    (r"extra_convs\.blocks\.(\d+)\.conv", r"backbone.extra.\1.widen"),
    (r"extra_convs\.blocks\.(\d+)\.conv_1", r"backbone.extra.\1.narrow"),
    (r"torch_cost_volume_track_mods\.hid1", "matching.trunk"),
    (r"torch_cost_volume_track_mods\.hid2", "matching.position"),
    (r"torch_cost_volume_track_mods\.hid3", "matching.occlusion_conv"),
    (r"torch_cost_volume_track_mods\.hid4", "matching.occlusion_hidden"),
    (r"torch_cost_volume_track_mods\.occ_out", "matching.occlusion_out"),
    (r"torch_pips_mixer\.linear", "mixer.inward"),
    (r"torch_pips_mixer\.layer_norm", "mixer.norm"),
    (r"torch_pips_mixer\.linear_1", "mixer.outward"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.layer_norm", r"mixer.blocks.\1.time_norm"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.layer_norm_1", r"mixer.blocks.\1.channel_norm"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.mlp1_up", r"mixer.blocks.\1.time_up"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.mlp1_up_1", r"mixer.blocks.\1.time_down"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.conv_channels_mixer\.mlp2_up", r"mixer.blocks.\1.channel_up"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.conv_channels_mixer\.mlp2_down", r"mixer.blocks.\1.channel_down"),
)
"""Official name as a pattern, our name as its replacement; both without the last word (weight or bias)."""


def _turned(rule: tuple[str, str]) -> tuple[str, str]:
    """The same rule the other way round.

    >>> _turned((r"a\\.(\\d+)\\.b_([01])", r"c.\\1.d_\\2"))
    ('c\\\\.(\\\\d+)\\\\.d_(\\\\d+)', 'a.\\\\1.b_\\\\2')
    """
    theirs, ours = rule
    pattern = re.sub(r"\\\\\d", lambda _: r"(\d+)", re.escape(ours))
    groups = iter(range(1, 10))
    template = re.sub(r"\([^)]*\)", lambda _: rf"\{next(groups)}", theirs).replace(r"\.", ".")
    return pattern, template


_TURNED = tuple(_turned(rule) for rule in _RULES)


def _rename(name: str, rules: tuple[tuple[str, str], ...], owner: str) -> str:
    stem, _, leaf = name.rpartition(".")
    for pattern, template in rules:
        match = re.fullmatch(pattern, stem)
        if match and leaf in ("weight", "bias"):
            return f"{match.expand(template)}.{leaf}"
    raise BadInput(f"tensor {name!r} is not one of {owner}; give the state dict of a TAPIR or BootsTAPIR network")


def from_official(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under our names. Raises BadInput, naming the tensor, for one that does not belong."""
    return {_rename(name, _RULES, "the published TAPIR weights"): tensor for name, tensor in state_dict.items()}


def to_official(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict under the published names. Raises BadInput, naming the tensor, for one that does not belong."""
    return {_rename(name, _TURNED, "tapetum's TAPIR weights"): tensor for name, tensor in state_dict.items()}
