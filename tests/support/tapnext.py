"""Tiny TAPNext networks with random weights."""

import numpy as np
import torch

from tapetum.systems.tapnext import TapNext, TapNextConfig
from tapetum.systems.tapnext.layers import embed_pixels
from tapetum.systems.tapnext.weights import _names

TINY = TapNextConfig(
    image_size=(32, 48),
    video_size=(32, 48),
    width=32,
    depth=2,
    heads=2,
    mlp_width=128,
    lru_width=24,
    gate_blocks=2,
    gated_mlp_width=128,
)


def public_state(config: TapNextConfig = TINY, seed: int = 0) -> dict[str, torch.Tensor]:
    """Build a state dict as the public class has it, of numbers that no version of torch changes."""
    rng = np.random.default_rng(seed)
    own, state = TapNext(config).state_dict(), {}
    for ours, theirs in _names(config.depth).items():
        tensor = own[ours]
        if ours.endswith("gate_up.weight"):
            tensor = tensor.unflatten(0, (2, -1)).transpose(1, 2)
        elif ours.endswith("gate_up.bias"):
            tensor = tensor.view(2, 1, 1, -1)
        elif ours == "position_embedding":
            tensor = tensor.flatten(0, 1)[None]
        elif ours.endswith("_token"):
            tensor = tensor.view(*([1] * (2 if ours == "unknown_token" else 3)), -1)
        state[theirs] = tensor.contiguous()
    for k in range(config.depth):
        for leaf in ("weight", "bias"):
            parts = [own[f"blocks.{k}.spatial.attention.{part}.{leaf}"] for part in ("query", "key", "value")]
            state[f"blocks.{k}.vit_block.self_attention.in_proj_{leaf}"] = torch.cat(parts)
    y, x = torch.meshgrid(*map(torch.arange, config.image_size), indexing="ij")
    state["query_pos_embed"] = embed_pixels(torch.stack([x, y], -1).flatten(0, 1), config.width)[None]
    for name, tensor in sorted(state.items()):
        if name == "query_pos_embed":
            continue
        inputs = tensor.shape[1] if name.endswith(("ffw_up.w", "gate.w")) or tensor.ndim == 2 else tensor.shape[-1]
        values = rng.standard_normal(tensor.shape) * (0.3 if inputs == tensor.numel() else inputs**-0.5)
        values *= 8 if name == "coordinate_head.6.weight" else 1
        state[name] = torch.from_numpy(values.astype(np.float32) - (2 if name.endswith("a_param") else 0))
    return state


def clip(config: TapNextConfig = TINY, frames: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Build two videos of noise, and queries in them: on the first frame, later ones, the last, never, and at a corner."""
    rng = np.random.default_rng(1)
    video = rng.uniform(-1, 1, (2, frames, *config.image_size, 3)).astype(np.float32)
    points = [(0, 10.25, 20.5), (2, 40.0, 3.75), (frames - 1, 24.6, 16.1), (frames + 3, 12.0, 12.0), (1, 0.2, 31.9)]
    queries = torch.tensor([points, [(t, x / 2 + 8, y / 2 + 8) for t, x, y in points]])
    return torch.from_numpy(video), queries
