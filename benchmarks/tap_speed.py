"""Time and memory of ours beside the published order of operations, in one run.

    python benchmarks/tap_speed.py [--cases 24x256x64 ...] [--models tapir bootstapir] [--threads 2] [--repeats 3]

A case is FRAMESxSIZExPOINTS. Every row is a process of its own that makes the network with random weights (seed 0; no official
checkpoint can be had on the machine this was written on), warms up with two frames, and tracks the same moving noise from uint8
frames to tracks; the rows of a case take turns, `--repeats` times. Time: best wall time. Memory: the most that was ever
resident, less what was resident before the call. Rows: `published` is benchmarks/tap_published.py; `float32` and `bfloat16` are
ours (`tapetum.load(..., dtype=)`); `compiled` is ours after `TapirTracker.compile()`. Drift is the distance of tracks from
those of `published`, median and 99th percentile. With random weights a rounding may decide which of two cells wins, so it is
the 99th percentile of `float32` that must be below 1e-2 px, or the run ends there; and at the end the drift of bfloat16 is
measured again with the trained tapir-nano on a synthetic clip.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = ("published", "float32", "bfloat16")


def moving_noise(frames, size):
    """Smooth noise that slides by 3 and 2 pixels a frame, uint8."""
    import torch

    wide = size + 4 * frames
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, wide // 8, wide // 8, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(wide, wide), mode="bicubic").clamp(0, 1)[0]
    image = (image * 255).byte().permute(1, 2, 0).numpy()
    return np.stack([image[2 * t : 2 * t + size, 3 * t : 3 * t + size] for t in range(frames)])


def resident(peak):
    """Bytes resident now, or the most since `forget_peak`."""
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def forget_peak():
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def child(args):
    """One row once: prints JSON and saves the tracks."""
    import torch

    import tapetum
    from tap_published import Published

    torch.set_num_threads(args.threads)
    frames, size, points = (int(part) for part in args.child_case.split("x"))
    tracker = tapetum.tap.build(args.child_model)
    if args.child == "bfloat16":
        tracker.to(dtype=torch.bfloat16)
    if args.child == "compiled":
        tracker.compile()
    plain = Published(tracker.model)
    video = moving_noise(frames, size)
    rng = np.random.default_rng(0)
    queries = np.concatenate([rng.integers(0, frames, (points, 1)), rng.uniform(0, size, (points, 2))], 1).astype(np.float32)

    def call(video, queries):
        if args.child == "published":
            with torch.inference_mode():
                images = torch.from_numpy(video).float()[None] / 127.5 - 1
                return plain.track(images, torch.from_numpy(queries)[None])[0][0].numpy()
        return tracker.track(video, queries).xy

    call(*((video, queries) if args.child == "compiled" else (video[:2], queries[:2] * np.float32([0, 1, 1]))))
    forget_peak()
    before, cpu, wall = resident(peak=False), time.process_time(), time.perf_counter()
    tracks = call(video, queries)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(args.child_out, tracks)
    print(json.dumps({"wall": wall, "cpu": cpu, "memory": resident(peak=True) - before}))


def measure(row, model, case, args, folder):
    """One row once, in a process of its own; its numbers and its tracks."""
    out = Path(folder) / f"{row}.npy"
    command = [sys.executable, __file__, "--child", row, "--child-model", model, "--child-case", case]
    command += ["--child-out", str(out), "--threads", str(args.threads)]
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    )
    return json.loads(said.stdout.splitlines()[-1]), np.load(out)


def trained_drift(threads):
    """How far bfloat16 is from float32 with trained weights, as a line."""
    import torch

    import tapetum
    from tapetum.tracks.facets import make_clip

    torch.set_num_threads(threads)
    clip = make_clip(7, points=256)
    full, low = (
        tapetum.load("tapir-nano", dtype=dtype).track(clip.video, clip.queries) for dtype in (torch.float32, torch.bfloat16)
    )
    drift = np.linalg.norm(low.xy - full.xy, axis=-1)[full.visible]
    shares = ", ".join(f"{np.percentile(drift, share):.3f}" for share in (50, 90, 99))
    return f"tapir-nano, bfloat16 from float32 where visible, px: median, 90 %, 99 %: {shares}"


def main():
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["24x256x64", "24x256x256", "50x480x256"])
    parser.add_argument("--models", nargs="+", default=["tapir", "bootstapir"])
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--child-model", help=argparse.SUPPRESS)
    parser.add_argument("--child-case", help=argparse.SUPPRESS)
    parser.add_argument("--child-out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    print(f"{args.threads} threads, load before {os.getloadavg()[0]:.2f}; times in s, memory in MB, ratios to published")
    print("model       case         row            wall  ratio     cpu  memory  ratio  drift, px: median, 99 %")
    for model in args.models:
        for case in args.cases:
            with tempfile.TemporaryDirectory() as folder:
                best, tracks = {}, {}
                for _ in range(args.repeats):
                    for row in args.rows:
                        numbers, tracks[row] = measure(row, model, case, args, folder)
                        old = best.get(row, numbers)
                        best[row] = {name: min(old[name], value) for name, value in numbers.items()}
                base = best.get("published")
                for row in args.rows:
                    wall, cpu, memory = (best[row][name] for name in ("wall", "cpu", "memory"))
                    text = f"{model:<12}{case:<13}{row:<11}{wall:8.2f}"
                    text += f"{wall / base['wall']:7.2f}" if base else " " * 7
                    text += f"{cpu:8.2f}{memory / 1e6:8.0f}" + (f"{memory / base['memory']:7.2f}" if base else " " * 7)
                    if base:
                        drift = np.linalg.norm(tracks[row] - tracks["published"], axis=-1)
                        text += f"  {np.median(drift):.5f}, {np.percentile(drift, 99):.5f}"
                    print(text, flush=True)
                    if base and row == "float32" and np.percentile(drift, 99) > 1e-2:
                        sys.exit("float32 is not where published is: they do not compute the same")
    print(trained_drift(args.threads))
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{usage.ru_utime + usage.ru_stime:.0f} CPU seconds in all; load after {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
