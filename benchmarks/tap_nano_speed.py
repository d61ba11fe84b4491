"""Frames per second of `tapir-nano` on this machine, beside pyramidal Lucas-Kanade on the same points.

    python benchmarks/tap_nano_speed.py [--points 64] [--frames 48] [--size 256] [--threads 2]

The whole call is timed, from uint8 frames to tracks, both ways from the query: best and median of five runs, after a warm-up.
"""

import argparse
import time

import numpy as np
import torch

import tapetum
from tap_cutouts import lucas_kanade
from tapetum.world import SceneConfig, make_clip


def rates(call, frames, repeats=5):
    """Best and median frames per second."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return frames / min(seconds), frames / np.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clip = make_clip(0, SceneConfig(size=(args.size, args.size), frames=args.frames), points=args.points)
    tracker, half = tapetum.load("tapir-nano"), tapetum.load("tapir-nano", dtype=torch.bfloat16)
    what = f"{args.points} points, {args.frames} frames of {args.size}x{args.size}"
    print(f"{what}, {args.threads} threads, torch {torch.__version__}")
    for name, call in (
        ("tapir-nano", lambda: tracker.track(clip.video, clip.queries)),
        ("tapir-nano, bfloat16", lambda: half.track(clip.video, clip.queries)),
        ("lucas-kanade with check", lambda: lucas_kanade(clip.video, clip.queries)),
    ):
        best, median = rates(call, args.frames)
        print(f"{name:<26}{best:8.1f} frames/s best{median:8.1f} median")


if __name__ == "__main__":
    main()
