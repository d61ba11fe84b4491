"""Scores masks that start from one click, or one box, on made videos with exact masks, beside masks that points only move.

    python evidence/click-masks/claims.py OUT.json [--clips FOLDER] [--model tapir-nano]
    python evidence/click-masks/claims.py OUT.json --table    # the table of a file that is there

The videos are the first 20 of seeds 9100, 9101, ... in which the largest object of the first frame covers 1.5 to 40 % of it and
is visible in half of the frames or more; no other video of the world was used to choose a setting. The click is the place of
the object that is farthest from its outline; the box is the object's own. `affine` has the same first mask and the same points,
and moves that mask by the robust affine map of the points alone. J and F are DAVIS's (`tapetum.metrics.masks`) over all frames
but the first and the last. FOLDER keeps the clips for another run.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

from tapetum.bench.baselines import Tracker, load_tracker
from tapetum.metrics.masks import davis_scores, mask_iou
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.tracks.facets import make_clip
from tapetum.tracks.facets.world import SceneConfig
from tapetum.tracks.masks import GONE, ClipMasks, Motion, Prompt, segment_clip

CLIPS, FIRST = 20, 9100
CONFIG = SceneConfig(size=(240, 320), frames=20, turn_share=0.3)


def clips(folder: Path | None) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Make the videos: seed, frames (t, h, w, 3) and the object's masks (t, h, w)."""
    found, seed = 0, FIRST
    while found < CLIPS:
        kept = folder and folder / f"{seed}.npz"
        if kept and kept.exists():
            stored = np.load(kept)
            video, instances = stored["video"], stored["instances"]
        else:
            clip = make_clip(seed, CONFIG, points=8)
            video, instances = clip.video, clip.instances
            if kept:
                np.savez(kept, video=video, instances=instances)
        areas = np.bincount(instances[0].ravel(), minlength=2)[1:]
        truth = instances == 1 + areas.argmax()
        if 0.015 <= truth[0].mean() <= 0.4 and truth.any((1, 2)).mean() >= 0.5:
            yield seed, video, truth
            found += 1
        seed += 1


def prompts(mask: np.ndarray) -> dict[str, Prompt]:
    """Click where the object is farthest from its outline; draw the box around it."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]  # type: ignore[index]
    y, x = np.unravel_index(depth.argmax(), mask.shape)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    return {"click": Prompt(inside=((x + 0.5, y + 0.5),)), "box": Prompt(box=box)}


def affine_masks(masks: ClipMasks) -> np.ndarray:
    """Move the first mask by the affine map of its points, frame by frame; it is empty where ours is said to be hidden."""
    [key] = masks.keyframes
    rows, columns = np.indices(key.mask.shape) + 0.5
    places = np.stack([columns, rows], -1)
    moved = [key.mask]
    for frame in range(1, len(masks)):
        if key.share(frame) < GONE:
            moved.append(np.zeros_like(key.mask))
            continue
        back = Motion.of(key, frame).back
        source = places @ back[:, :2].T + back[:, 2]
        there = (source[..., 1] - 0.5, source[..., 0] - 0.5)
        moved.append(map_coordinates(key.distance, there, order=1, mode="nearest") > 0)
    return np.stack(moved)


def scores(tracker: Tracker, video: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Score one video, by prompt and way."""
    row: dict[str, Any] = {}
    for name, prompt in prompts(truth[0]).items():
        masks = segment_clip(video, [prompt], tracker)
        ours = np.stack([masks[frame] for frame in range(len(masks))])
        row[f"{name}: first J"] = float(mask_iou(ours[:1], truth[:1])[0])
        for way, found in (("solved", ours), ("affine", affine_masks(masks))):
            scored = davis_scores({1: found[1:-1]}, {1: truth[1:-1]})
            row[f"{name}: {way}"] = {"j": scored.j.mean, "f": scored.f.mean}
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Average over videos, with bootstrap intervals of J&F and of the difference between the two ways."""
    found: dict[str, Any] = {}
    for prompt in ("click", "box"):
        found[f"{prompt}: first J"] = float(np.mean([row[f"{prompt}: first J"] for row in rows]))
        both = {}
        for way in ("solved", "affine"):
            values = np.array([[row[f"{prompt}: {way}"][name] for name in ("j", "f")] for row in rows])
            both[way] = values.mean(1)
            found[f"{prompt}: {way}"] = {
                "j": values[:, 0].mean(),
                "f": values[:, 1].mean(),
                "j_and_f": values.mean(),
                "interval": bootstrap_interval(both[way]),
            }
        gain = both["solved"] - both["affine"]
        found[f"{prompt}: solved less affine"] = {"j_and_f": gain.mean(), "interval": bootstrap_interval(gain)}
    return found


def table(found: dict[str, Any]) -> str:
    """Write the table of the page."""
    lines = ["| prompt | mask | J | F | J&F (95 %) |", "| --- | --- | --- | --- | --- |"]
    for prompt in ("click", "box"):
        for way, words in (("solved", "solved in each frame"), ("affine", "moved by the points alone")):
            row = found[f"{prompt}: {way}"]
            low, high = row["interval"]
            lines.append(
                f"| {prompt} | {words} | {row['j']:.3f} | {row['f']:.3f} | {row['j_and_f']:.3f} ({low:.3f} to {high:.3f}) |"
            )
        gain = found[f"{prompt}: solved less affine"]
        low, high = gain["interval"]
        lines.append(f"| {prompt} | the first less the second | | | {gain['j_and_f']:+.3f} ({low:+.3f} to {high:+.3f}) |")
    return "\n".join(lines)


def main() -> int:
    """Score all videos, and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.out.read_text())["summary"]))
        return 0
    if options.clips:
        options.clips.mkdir(parents=True, exist_ok=True)
    tracker = load_tracker(options.model)
    rows = []
    for seed, video, truth in clips(options.clips):
        began = time.perf_counter()
        rows.append({"seed": seed, **scores(tracker, video, truth)})
        print(json.dumps(rows[-1]), f"{time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    content = {"model": options.model, "size": CONFIG.size, "frames": CONFIG.frames, "summary": summary(rows), "clips": rows}
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content["summary"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
