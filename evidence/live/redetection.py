"""Points that come back after a long absence: how many are detected again, and how often wrongly, with and without `redetect`.

    python evidence/live/redetection.py [--scenes 8] [--first 0] [--absence 30] [--points 12] [--textures photos.parquet]

A scene of facets is shown for 6 frames. Then another scene is shown for `--absence` frames, in which no point of the first is
visible. Then the first one comes back as it is half a clip later, for 12 frames, moved by up to 60 pixels and turned by up to
30 degrees about the middle. Points are those that are visible in the first frame; the truth is exact. Both streams see the same
frames in the same run. Printed for each:

    absent       share of (point, frame) in the absence that are said to be visible: all of them are wrong
    back         share of (point, frame) truly visible after it that are said to be visible, within 8 pixels
    points       points that are truly visible after it in some frame, and how many of them are said to be so rightly in one
    detected     points that are said to be visible again, and how many of them wrongly at first: in the absence, while
                 hidden, or farther away than 8 pixels
    ms           processor time of a step in the absence, when all points are lost
"""

import argparse
import time

import cv2
import numpy as np
import torch

import tapetum
from tapetum.data.textures import from_images, procedural
from tapetum.systems.tap.tracking.redetection import LOST_AFTER
from tapetum.world import make_clip

NAMES = {False: "without ", True: "redetect"}
COLUMNS = ("absent", "back", "points", "detected wrongly", "ms")
MODEL, SIZE, BEFORE, AFTER, NEAR = "causal-tapir-nano", 256, 6, 12, 8.0


def sequence(seed, given):
    """Frames, places (n, t, 2), visible (n, t), and which of (n, t) are counted."""
    source = procedural if given.textures is None else from_images(given.textures, "held-out")
    clip, other = make_clip((51, seed), textures=source, points=300), make_clip((52, seed), textures=source, points=4)
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(clip.truth.visible[:, 0])[: given.points]
    turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(-30, 30), 1.0)  # in raster pixels
    turn[:, 2] += rng.uniform(-60, 60, 2)
    centres = turn.copy()
    centres[:, 2] += turn[:, :2] @ [0.5, 0.5] - 0.5  # of pixels, which OpenCV counts from
    back = np.stack([cv2.warpAffine(frame, centres, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT) for frame in clip.video[12:]])
    there_and_back = np.r_[np.arange(24), np.arange(22, 0, -1)]
    away = other.video[there_and_back[np.arange(given.absence) % len(there_and_back)]]
    xy, visible = clip.truth.xy[rows], clip.truth.visible[rows]
    moved = xy[:, 12:] @ turn[:, :2].T + turn[:, 2]
    inside = ((moved > 0) & (moved < SIZE)).all(-1)
    nothing = np.zeros((len(rows), given.absence))
    places = np.concatenate([xy[:, :BEFORE], np.repeat(xy[:, :1], given.absence, 1), moved], 1)
    truth = np.concatenate([visible[:, :BEFORE], nothing > 0, visible[:, 12:] & inside], 1)
    return np.concatenate([clip.video[:BEFORE], away, back]), places, truth


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--absence", type=int, default=30)
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--textures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tracker = tapetum.load(MODEL)
    table = {False: [], True: []}
    for seed in range(given.first, given.first + given.scenes):
        frames, places, truth = sequence(seed, given)
        streams = {redetect: tracker.start(frames[0], places[:, 0], redetect=redetect) for redetect in table}
        shown = {redetect: np.zeros_like(truth) for redetect in table}
        near, seconds = {redetect: np.zeros_like(truth) for redetect in table}, {False: [], True: []}
        for number, frame in enumerate(frames):
            for redetect in table:
                begin = time.process_time()
                streams[redetect], tracks = tracker.step(streams[redetect], frame)
                seconds[redetect].append(time.process_time() - begin)
                shown[redetect][:, number] = tracks.visible
                near[redetect][:, number] = np.linalg.norm(tracks.xy - places[:, number], axis=1) < NEAR
        for redetect, rows in table.items():
            away, back = slice(BEFORE + LOST_AFTER + 1, -AFTER), slice(-AFTER, None)
            said, right = shown[redetect], shown[redetect] & near[redetect] & truth
            late, late_right = said[:, BEFORE + LOST_AFTER :], right[:, BEFORE + LOST_AFTER :]
            first = late.argmax(1)
            wrong = late.any(1) & ~late_right[np.arange(len(first)), first]
            rows.append(
                [
                    (said[:, BEFORE:-AFTER].sum(), said[:, BEFORE:-AFTER].size),
                    (right[:, back].sum(), truth[:, back].sum()),
                    (right[:, back].any(1).sum(), truth[:, back].any(1).sum()),
                    (wrong.sum(), late.any(1).sum()),
                    (1000 * np.sum(seconds[redetect][away]), len(seconds[redetect][away])),
                ]
            )
            print(
                seed,
                NAMES[redetect],
                *(f"{name} {a:.0f}/{b}" for name, (a, b) in zip(COLUMNS, rows[-1], strict=True)),
                flush=True,
            )
    for redetect, rows in table.items():
        sums = np.sum(rows, 0)
        texts = [f"{name} {a:.0f}/{b:.0f} {a / max(b, 1):.3f}" for name, (a, b) in zip(COLUMNS[:4], sums, strict=False)]
        print(NAMES[redetect], *texts, f"ms {sums[4, 0] / sums[4, 1]:.0f}")


if __name__ == "__main__":
    main()
