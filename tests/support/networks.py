"""Networks of milliseconds with random weights. A test that needs other sizes changes these: `tapir(causal=True)`."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from tapetum.systems.hip.config import HipConfig
from tapetum.systems.tap import weights
from tapetum.systems.tap.config import NANO, TapirConfig
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.tracking.tracker import TapirTracker

TAPIR = TapirConfig(
    pyramid_level=1,
    initial_resolution=(64, 64),
    stem_channels=16,
    channels=(16, 16, 24, 24),
    blocks_per_group=(1, 1, 1, 1),
    matching_channels=(4, 6, 4),
    mixer_width=16,
    mixer_blocks=2,
    mixer_expansion=2,
)
TAPIR_NANO = replace(
    NANO,
    initial_resolution=(64, 64),
    refine_at_least=(96, 96),
    stem_channels=16,
    channels=(16, 32, 32, 32),
    mixer_width=32,
    mixer_blocks=2,
)
"""The bundled tracker made small: two looks, polish, an enlarged second refinement."""
HIP = HipConfig(
    groups=(4, 1, 4), latents=(4, 8, 4), channels=(16, 32, 16), self_layers=(1, 1, 1), self_heads=(2, 2, 2), embedding=8
)


def tapir(config: TapirConfig = TAPIR, seed: int = 0, **changes) -> Tapir:
    """Build a network of `config` with some of its fields changed."""
    torch.manual_seed(seed)
    return Tapir(replace(config, **changes))


def tracker(config: TapirConfig = TAPIR, seed: int = 0, **changes) -> TapirTracker:
    return TapirTracker(tapir(config, seed, **changes))


def save_tapir(path: Path, config: TapirConfig = TAPIR, **changes) -> Path:
    """Write the weights of such a network; give the path."""
    weights.save(tapir(config, **changes), path)
    return path


def has_copies(module: nn.Module) -> bool:
    """Check whether a module has copies of weights in oneDNN's order."""
    return any(getattr(part, "copied", None) is not None for part in module.modules())


def to_official(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the tensors of a TAPIR network to the published names: the rules of `weights`, read backwards."""
    renamed = {}
    for name, tensor in state.items():
        stem, _, leaf = name.rpartition(".")
        for theirs, ours in weights._RULES:
            if match := re.fullmatch(re.sub(r"\\\\\d", r"(\\d+)", re.escape(ours)), stem):
                groups = iter(match.groups())
                renamed[re.sub(r"\([^)]*\)", lambda _, groups=groups: next(groups), theirs).replace("\\", "") + f".{leaf}"] = (
                    tensor
                )
    assert len(renamed) == len(state)
    return renamed
