"""The online step, a frame at a time, beside the published one.

    python benchmarks/tap_online.py [--models causal-tapir causal-bootstapir] [--points 8 64 256] [--threads 2]

Each step takes one uint8 frame of 256x256 pixels: features, matching, refinement with the state of the step before.
`published` is benchmarks/tap_published.py, in the order of operations of the public PyTorch model, which pads its temporal
convolutions by two frames and keeps two more. Both run alternately on the same frames with the same random weights (no official
checkpoint can be had on the machine this was written on) and must agree within 1e-3 px. Median of the steps, in ms; `features`
is their part of ours.
"""

import argparse
import os
import time
from dataclasses import replace

import numpy as np
import torch

import tapetum
from tap_published import Published
from tap_speed import moving_noise


def main():
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["causal-tapir", "causal-bootstapir"])
    parser.add_argument("--points", nargs="+", type=int, default=[8, 64, 256])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    video = moving_noise(args.frames, 256)
    print(f"{args.threads} threads, load before {os.getloadavg()[0]:.2f}; median of {args.frames - 2} steps, ms")
    print("model               points  published    ours  ratio  features  bfloat16  ratio  apart, px")
    for name in args.models:
        tracker, half = tapetum.tap.build(name), tapetum.tap.build(name).to(dtype=torch.bfloat16)
        plain = Published(tracker.model)
        for count in args.points:
            points = np.random.default_rng(0).uniform(8, 248, (count, 2)).astype(np.float32)
            row = compare(tracker, half, plain, video, points)
            theirs, ours, features, low = (
                1000 * float(np.median(row[k][2:])) for k in ("published", "ours", "features", "half")
            )
            print(
                f"{name:<20}{count:>7}{theirs:>11.0f}{ours:>8.0f}{ours / theirs:>7.2f}{features:>10.0f}{low:>10.0f}"
                f"{low / theirs:>7.2f}  {max(row['apart']):.5f}",
                flush=True,
            )
            if max(row["apart"]) > 1e-3:
                raise SystemExit("the two do not compute the same")


@torch.inference_mode()
def compare(tracker, half, plain, video, points):
    """Seconds of every step of each, and the largest distance between the tracks."""
    row = {name: [] for name in ("published", "ours", "features", "half", "apart")}
    stream, low = tracker.start(video[0], points), half.start(video[0], points)
    stream = replace(stream, query_xy=None)  # the public step looks for points where they were asked for, too
    first = torch.from_numpy(video[:1]).float()[None] / 127.5 - 1
    asked, context = plain.start(first, torch.from_numpy(points)[None])
    for frame in video:
        begin = time.perf_counter()
        images = torch.from_numpy(frame).float()[None, None] / 127.5 - 1
        theirs, _, _, context = plain.step(asked, context, images)
        row["published"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        stream, seen = tracker.step(stream, frame)
        row["ours"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        low, _ = half.step(low, frame)
        row["half"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        tracker.model.features(images)
        row["features"].append(time.perf_counter() - begin)
        row["apart"].append(float(np.abs(theirs[0, :, 0].numpy() - seen.xy).max()))
    return row


if __name__ == "__main__":
    main()
