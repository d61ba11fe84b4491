"""Carry first masks through videos by features: scored on episodes of the synthetic world, and drawn on a real clip.

    python evidence/odin/follow.py OUT --models colours xy RUN [--episodes 8]
    python evidence/odin/follow.py OUT --models colours RUN --video apple.mp4 --mask apple_mask.png

A model is what `tapetum eval davis --model` takes, or random:resnet-18 and so on, which has learned nothing. Episodes have true
masks; objects that cover 0.3 % of the first frame count, J and F are DAVIS's over all frames but the first and last. The real
clip has one mask, of its first frame, so what follows is looked at: OUT/MODEL.jpg shows frames in a row.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tapetum.bench.image_jobs import image_features_of
from tapetum.metrics.masks import DavisScores, davis_scores, joined
from tapetum.transfer.config import PropagationConfig
from tapetum.transfer.propagation import Look, carry
from tapetum.types import Masks
from tapetum.video import open_video
from tapetum.video.draw_regions import draw_regions
from tapetum_world.physics import make_episode
from tapetum_world.rendering import render_episode

LEAST = 0.003


def episode(number: int, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Make frames (t, h, w, 3) and instances (t, h, w) of an episode."""
    made = make_episode(
        7_000_000 + number, seconds=options.frames / 6, frame_rate=6, size=(options.size, options.size * 4 // 3)
    )
    frames = list(render_episode(made, frames=range(min(options.frames, made.frames))))
    return np.stack([frame.rgb for frame in frames]), np.stack([frame.instances for frame in frames])


def scored(look: Look, number: int, rgb: np.ndarray, ids: np.ndarray, how: PropagationConfig) -> DavisScores | None:
    """Score the objects that the first frame shows well enough."""
    kept = [int(n) for n in np.unique(ids[0]) if n and (ids[0] == n).mean() >= LEAST]
    if not kept:
        return None
    first = np.where(np.isin(ids[0], kept), ids[0], 0).astype(np.uint8)
    said = np.stack(list(carry(rgb, first, look, how)))[1:-1]
    return davis_scores({(number, n): said == n for n in kept}, {(number, n): ids[1:-1] == n for n in kept})


def drawn(look: Look, options: argparse.Namespace, how: PropagationConfig) -> np.ndarray:
    """Carry the mask of a real clip; give some frames in a row with what was found."""
    with open_video(options.video) as video:
        step = max(len(video) // (4 * options.shown), 1)
        frames = [video[k] for k in range(0, len(video), step)]
    scale = 480 / max(frames[0].shape[:2])
    small = [round(side * scale) for side in frames[0].shape[:2]]
    frames = [np.asarray(Image.fromarray(frame).resize((small[1], small[0]), Image.Resampling.BILINEAR)) for frame in frames]
    mask = Image.open(options.mask).convert("L").resize((small[1], small[0]), Image.Resampling.BILINEAR)
    found = list(carry(frames, (np.asarray(mask) > 127).astype(np.uint8), look, how))
    chosen = np.linspace(0, len(frames) - 1, options.shown).round().astype(int)
    return np.concatenate([draw_regions(frames[k], masks=Masks(masks=found[k][None] == 1)) for k in chosen], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="+", default=["colours", "xy"])
    parser.add_argument("--episodes", type=int, default=0)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=144, help="rows of the frames of episodes")
    parser.add_argument("--short-side", type=int, default=192, help="of frames as a network sees them")
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--radius", type=int, default=8)
    parser.add_argument("--context", type=int, default=4)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--mask", type=Path, help="of its first frame")
    parser.add_argument("--shown", type=int, default=5, help="frames in a row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    how = PropagationConfig(short_side=options.short_side, radius=options.radius, context=options.context)
    made = [episode(k, options) for k in range(options.episodes)]
    found: dict[str, Any] = {}
    for model in options.models:
        look = image_features_of(model, options.short_side, options.stride, "cpu")
        name = Path(model.replace(":", "-")).name
        if options.video:
            Image.fromarray(drawn(look, options, how)).save(options.out / f"{name}.jpg", quality=88)
        parts = [part for k, (rgb, ids) in enumerate(made) if (part := scored(look, k, rgb, ids, how)) is not None]
        if parts:
            whole = joined(parts)
            found[name] = {"j_and_f": whole.j_and_f, "j": whole.j.mean, "f": whole.f.mean, "objects": len(whole.objects)}
            print(f"{name:24}", {key: round(value, 3) for key, value in found[name].items()}, flush=True)
    if found:
        (options.out / "episodes.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
