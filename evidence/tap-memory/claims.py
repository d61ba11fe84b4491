"""Memory while a long video is tracked: does it grow with the length?

    python evidence/tap-memory/claims.py [--frames 10000] [--size 640x480] [--points 256] [--model tapir-nano] [--out FILE]
    python evidence/tap-memory/claims.py --model causal-tapir-nano --live

Writes a video of so many frames (a smooth image that slides about), tracks points that start all over it, and notes the most
memory that was resident since the last note, whenever frames have been seen and at the end. Prints the most that was resident
up to frame 500 and to the end, and their ratio (windows of more than 500 frames are not full by then), and writes FILE.csv and
FILE.svg. With --live frames go through `TapirTracker.step` one by one instead of through windows.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import tapetum
from tapetum.video import open_video, write_video

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from tap_speed import forget_peak, resident

EARLY = 500
"""Frames after which memory should not grow."""


def sliding(frames, width, height):
    """Frames of a large smooth image that slides by on a closed path."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(2 * height, 2 * width), mode="bicubic").clamp(0, 1)[0]
    image = (image * 255).byte().permute(1, 2, 0).numpy()
    for t in range(frames):
        x = round(width / 2 * (1 + np.sin(t / 60)))
        y = round(height / 2 * (1 + np.cos(t / 75)))
        yield image[y : y + height, x : x + width]


def svg(rows, title):
    """A plot of memory in MB over frames, as text."""
    frames, memory = np.array(rows, np.float64).T[[0, 2]]
    width, height, left, bottom, top = 720, 300, 60, 40, 30
    across, up = (width - left - 20) / frames.max(), (height - bottom - top) / (1.1 * memory.max())
    points = " ".join(f"{left + f * across:.1f},{height - bottom - m * up:.1f}" for f, m in zip(frames, memory, strict=True))
    early = left + EARLY * across
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/><text x="{left}" y="18">{title}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = left + share * frames.max() * across, height - bottom - share * memory.max() * up
        text.append(f'<line x1="{left}" x2="{width - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        text.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share * memory.max():.0f}</text>')
        text.append(f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{share * frames.max():.0f}</text>')
    text += [
        f'<line x1="{early:.1f}" x2="{early:.1f}" y1="{top}" y2="{height - bottom}" stroke="#c44" stroke-dasharray="4"/>',
        f'<text x="{early + 4:.1f}" y="{height - bottom - 6}" fill="#c44">frame {EARLY}</text>',
        f'<polyline points="{points}" fill="none" stroke="#247" stroke-width="1.5"/>',
        f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">frames seen</text>',
        '<text x="6" y="18">MB</text></svg>',
    ]
    return "\n".join(text) + "\n"


def main():
    """The run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--refine", help="refine at this size only, as in 256x256: quicker")
    parser.add_argument("--window", type=int, help="frames worked on at a time; by default as many as fit in 1 GiB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    width, height = (int(part) for part in args.size.split("x"))
    refine = None if args.refine is None else [tuple(int(part) for part in reversed(args.refine.split("x")))]
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, (width, height), (args.points, 2)).astype(np.float32)
    starts = np.zeros(args.points) if args.live else rng.integers(0, args.frames, args.points)
    queries = np.concatenate([starts[:, None], xy], 1).astype(np.float32)
    tracker, rows = tapetum.load(args.model, dtype=getattr(torch, args.dtype)), []
    began = shown = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        write_video(path, sliding(args.frames, width, height), 30)
        print(
            f"{args.frames} frames of {width}x{height}, {path.stat().st_size / 1e6:.0f} MB, {time.perf_counter() - began:.0f} s"
        )
        began = time.perf_counter()

        def note(seen, _frames=None):
            nonlocal shown
            rows.append((seen, round(time.perf_counter() - began, 1), resident(peak=True) / 1e6))
            forget_peak()
            if time.perf_counter() - shown > 60:
                shown = time.perf_counter()
                print(f"{seen} frames, {rows[-1][1]:.0f} s, {rows[-1][2]:.0f} MB", flush=True)

        with open_video(path) as video:
            if args.live:
                stream = tracker.start(video[0], xy, refinement_resolutions=refine)
                for t in range(args.frames):
                    stream, _ = tracker.step(stream, video[t])
                    note(t + 1)
            else:
                tracker.track(video, queries, refinement_resolutions=refine, window=args.window, progress=note)
                note(args.frames)
    frames, _, memory = np.array(rows).T
    early, all_of_it = memory[frames <= EARLY].max(), memory.max()
    what = (
        f"{args.model}, {args.dtype}{', live' if args.live else ''}: {args.points} points, {args.frames} frames of {args.size}"
    )
    what += "" if args.refine is None else f", refined at {args.refine}"
    what += "" if args.window is None else f", windows of {args.window}"
    print(f"{what}: {args.frames / rows[-1][1]:.1f} frames/s, {args.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"most resident: {early:.0f} MB up to frame {EARLY}, {all_of_it:.0f} MB to the end: {all_of_it / early:.3f}")
    if args.out:
        thin = rows[:: max(1, len(rows) // 1000)] + rows[-1:]
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with args.out.with_suffix(".csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("frames", "seconds", "resident_mb"), *thin])
        args.out.with_suffix(".svg").write_text(svg(thin, what))


if __name__ == "__main__":
    main()
