"""Trackers of this project beside pyramidal Lucas-Kanade: forward-backward cycle error on real videos, and speed.

    python benchmarks/tap_real.py VIDEO ... [--model tapir-nano] [--frames 48] [--grid 12] [--overlays DIR]
    python benchmarks/tap_real.py --speed [--points 64] [--frames 48] [--size 256] [--threads 2]

Points of a grid are tracked from the first frame to the last; each point that a tracker calls visible there is tracked back
from where it was found. The error is the distance to where it began, in pixels of the video scaled to a height of 256. A
tracker that loses points has fewer to be judged on, so the share that came back within 4 pixels, of all points, is printed too.

`--speed` prints frames per second of `tapir-nano` on this machine, on the same points: the whole call is timed, from uint8
frames to tracks, both ways from the query: best and median of five runs, after a warm-up.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import tapetum
from tap_cutouts import lucas_kanade
from tapetum.systems.tap.bootstrap.samples import CycleErrors, cycle_errors, grid
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.video import draw_tracks, open_video, write_video

HEIGHT = 256


def load(path, frames):
    with open_video(path) as video:
        count = min(frames, len(video))
        width = round(video.width * HEIGHT / video.height / 2) * 2
        return np.stack([np.asarray(Image.fromarray(video[i]).resize((width, HEIGHT))) for i in range(count)]), video.frame_rate


def rates(call, frames, repeats=5):
    """Best and median frames per second."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return frames / min(seconds), frames / np.median(seconds)


def speed(args):
    """Print frames per second on a made clip."""
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--grid", type=int, default=12)
    parser.add_argument("--overlays", type=Path)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.speed:
        speed(args)
        return
    tracker = tapetum.load(args.model)

    def ours(video, queries):
        tracks = tracker.track(video, queries)
        return tracks.xy, tracks.visible

    print(f"{'video':<16}{'tracker':<14}{'median px':>10}{'mean px':>9}{'judged':>8}{'back <4px':>11}")
    total = {}
    for path in args.videos:
        video, frame_rate = load(path, args.frames)
        queries = grid(video.shape[1:], args.grid)
        for name, track in ((args.model, ours), ("lucas-kanade", lucas_kanade)):
            errors = cycle_errors(track, video, queries)
            total.setdefault(name, []).append(errors.error)
            row(path.stem, name, errors)
            if args.overlays:
                args.overlays.mkdir(parents=True, exist_ok=True)
                xy, visible = track(video, queries)
                write_video(args.overlays / f"{path.stem}-{name}.mp4", draw_tracks(video, xy, visible), frame_rate)
    for name, errors in total.items():
        row("all", name, CycleErrors(np.concatenate(errors)))


def row(video, name, errors):
    s = errors.summary()
    print(f"{video:<16}{name:<14}{s['median_px']:>10.2f}{s['mean_px']:>9.2f}{s['judged']:>8.2f}{s['back_within_4px']:>11.2f}")


if __name__ == "__main__":
    main()
