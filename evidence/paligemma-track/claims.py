"""How well points carry boxes through clips (`tapetum detect --track`), whatever finds them: here the truth does.

    python evidence/paligemma-track/claims.py [--clips 12] [--out evidence/paligemma-track]

Clips are episodes of the physical world (tapetum_world), 2 seconds at 24 frames/s, 192x192 pixels, with their own camera. In
frames where the model would look, the truth tells the boxes of things of which 60 % are seen. Then the boxes over time are
compared with the truth in all other frames: intersection over union where at least 30 % of a thing is seen, 0 where it is shown
no box; and how often a thing that is wholly hidden or gone is still shown. Beside it stands a box that stays where it was found
(tracker static). Intervals are 95 % over clips (bootstrap).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from tapetum.bench.baselines import load_tracker
from tapetum.data.textures import procedural
from tapetum.metrics.boxes import box_iou
from tapetum.tracks.follow import BoxTracker, to_box_tracks
from tapetum.types import Boxes, Masks
from tapetum.video import open_video
from tapetum_world.files.items import first_valid_start
from tapetum_world.physics import make_episode
from tapetum_world.rendering import GroundTruth, random_render_config, render_episode

SIZE, SECONDS = 192, 2.0
SEEN_BY_MODEL, SEEN = 0.6, 0.3
"""Shares of a thing that must be seen to be found, and to count."""


def clip(number: int) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Frames, rate, boxes (n, t, 4) and seen shares (n, t) of one episode."""

    def begin(key: int):
        return make_episode(key, seconds=SECONDS, size=(SIZE, SIZE))

    key, episode = first_valid_start((20261127, number), begin)
    config = random_render_config(np.random.default_rng((key, 6)))
    frames = np.stack([shot.rgb for shot in render_episode(episode, procedural, config, range(episode.frames))])
    truth = GroundTruth(episode)
    masks = [truth.masks(frame) for frame in range(episode.frames)]
    ids = sorted(set(masks[0].ids.tolist()))
    boxes, shares = np.zeros((len(ids), len(masks), 4)), np.zeros((len(ids), len(masks)))
    for t, each in enumerate(masks):
        tracked = Masks(masks=each.visible).boxes.xyxy
        for row, identity in enumerate(each.ids.tolist()):
            k = ids.index(identity)
            boxes[k, t] = tracked[row]
            shares[k, t] = each.visible[row].sum() / max(1, each.amodal[row].sum()) if each.visible[row].sum() >= 30 else 0
    return frames, episode.frames / SECONDS, boxes, shares


def score(frames: np.ndarray, frame_rate: float, truth: np.ndarray, shares: np.ndarray, tracker) -> dict[str, float]:
    """Follow what the truth finds, and compare."""
    video = open_video(frames, frame_rate=frame_rate)

    def look(frame: int) -> Boxes:
        some = np.flatnonzero(shares[:, frame] >= SEEN_BY_MODEL)
        return Boxes(xyxy=truth[some, frame], labels=[str(k) for k in some])

    began = time.process_time()
    follower = BoxTracker(video, tracker, look, every=max(1, round(frame_rate / 2)))
    boxes = to_box_tracks(follower.run(), video)
    seconds = time.process_time() - began
    values, ghosts, hidden = [], 0, 0
    for k, label in enumerate(boxes.labels):
        for t in range(boxes.frames):
            true = int(label)
            if shares[true, t] == 0:
                hidden += 1
                ghosts += bool(boxes.shown[k, t])
            elif shares[true, t] >= SEEN and not boxes.detected[k, t]:
                overlap = box_iou(boxes.xyxy[k, t][None], truth[true, t][None])[0, 0]
                values.append(float(overlap) if boxes.shown[k, t] else 0.0)
    return {
        "iou_sum": float(np.sum(values)),
        "good_sum": float(np.sum(np.array(values) >= 0.5)),
        "places": len(values),
        "ghosts": ghosts,
        "hidden": hidden,
        "looks": len(follower.detector_frames),
        "frames": boxes.frames,
        "seconds": seconds,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    trackers = {name: load_tracker(name, None, "float32") for name in ("tapir-nano", "static")}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in trackers}
    for number in range(given.clips):
        made = clip(number)
        for name, tracker in trackers.items():
            rows[name].append(score(*made, tracker))
        print(
            number, {name: round(rows[name][-1]["iou_sum"] / max(1, rows[name][-1]["places"]), 3) for name in rows}, flush=True
        )
    results: dict = {"clips": given.clips}
    rng = np.random.default_rng(0)
    draws = rng.integers(0, given.clips, (2000, given.clips))
    for name, each in rows.items():
        column = {key: np.array([row[key] for row in each], float) for key in each[0]}
        means = column["iou_sum"][draws].sum(1) / column["places"][draws].sum(1)
        low, high = np.percentile(means, (2.5, 97.5))
        total = {key: float(values.sum()) for key, values in column.items()}
        results[name] = {
            "mean_iou": total["iou_sum"] / total["places"],
            "low": float(low),
            "high": float(high),
            "share_above_half": total["good_sum"] / total["places"],
            "shown_while_gone": total["ghosts"] / max(1, total["hidden"]),
            "places": int(total["places"]),
            "places_gone": int(total["hidden"]),
            "looks": int(total["looks"]),
            "frames": int(total["frames"]),
            "cpu_seconds": total["seconds"],
        }
        print(name, json.dumps(results[name]))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
