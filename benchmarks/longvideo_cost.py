"""What a longer video costs in each form of memory: time, memory and FLOPs against frames, and a stream whose memory has a cap.

    python benchmarks/longvideo_cost.py OUT [--frames 16 32 64 128 256] [--segments 1000]

Every point is a process of its own, so that peaks are its own; the order goes round the forms, since machines are shared. Time
is CPU time of one thread, the least of several calls; memory is by how much the peak grows in a call; FLOPs are counted while
it runs. What `tapetum.longvideo.plan` says is drawn as lines over the counted points. The stream gives CPU time for each of its
segments, and the memory of the process: from the first one after the cap is full, medians of blocks of segments are compared.

OUT/results.json has all numbers, OUT/cost.png the curves (with matplotlib: the extra view).
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from tapetum.files import whole_file
from tapetum.longvideo.config import VideoConfig, named
from tapetum.longvideo.plan import plan

FORMS = "joint", "streaming", "augmented", "consolidated"
BLOCK = 10
"""Segments of which a median is taken."""


def config_of(form: str, args: argparse.Namespace) -> VideoConfig:
    """The encoder: a ViT-S as in the notes of this project, frames of 64 x 64, 128 tokens a segment."""
    return named(
        "mcvit-nano",
        width=args.width,
        depth=args.depth,
        heads=args.width // 64,
        mlp_width=4 * args.width,
        size=(64, 64),
        frames=max(args.frames),
        memory=form,
        memories=args.memories,
    )


def peak_mib() -> float:
    """The peak of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def one(form: str, frames: int, args: argparse.Namespace) -> dict[str, float]:
    """Measure one point."""
    import torch

    from tapetum.account.flops import count_flops
    from tapetum.longvideo.encoder import VideoEncoder

    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = VideoEncoder(config_of(form, args)).eval()
    video = torch.rand(1, frames, 64, 64, 3) * 2 - 1
    with torch.inference_mode():
        encoder(video[:, :16])
        before, best = peak_mib(), float("inf")
        for _ in range(args.repeats):
            began = time.process_time()
            encoder(video)
            best = min(best, time.process_time() - began)
    grown = peak_mib() - before
    with torch.no_grad():
        flops = count_flops(lambda: encoder(video)).total
    return {"frames": frames, "cpu_s": best, "grown_mib": grown, "flops": flops}


def stream(args: argparse.Namespace) -> dict[str, Any]:
    """Measure each segment of a stream with a cap."""
    import torch

    from tapetum.longvideo.encoder import VideoEncoder

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = replace(config_of("consolidated", args), memory_cap=args.cap, cache_projected=True)
    encoder = VideoEncoder(config).eval()
    segment = torch.rand(1, 16, 64, 64, 3) * 2 - 1
    seconds, held, peaks = [], [], []
    with torch.inference_mode():
        state = encoder.start(1)
        for _ in range(args.segments):
            began = time.process_time()
            state, _ = encoder.step(state, segment)
            seconds.append(time.process_time() - began)
            held.append(state.bytes)
            peaks.append(peak_mib())
    full = -(-args.cap // args.memories)
    blocks = [median(seconds[k : k + BLOCK]) for k in range(full, len(seconds) - BLOCK + 1, BLOCK)]
    return {
        "segments": args.segments,
        "cap": args.cap,
        "full_after": full,
        "blocks_cpu_s": blocks,
        "slowest_over_fastest": max(blocks) / min(blocks) if blocks else None,
        "last_over_first": blocks[-1] / blocks[0] if blocks else None,
        "memory_bytes": [held[min(full, len(held) - 1)], held[-1]],
        "peak_mib": [peaks[min(full, len(peaks) - 1)], peaks[-1]],
    }


def measured(words: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process of its own."""
    line = [sys.executable, __file__, *sys.argv[1:], "--only", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def draw(points: dict[str, list[dict[str, float]]], args: argparse.Namespace, path: Path) -> None:
    """Draw counted FLOPs over the plan's, time and memory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    for colour, (form, rows) in zip(("C0", "C1", "C2", "C3"), points.items(), strict=True):
        frames = [row["frames"] for row in rows]
        lengths = range(16, max(args.frames) + 1, 16)
        axes[0].plot(lengths, [plan(config_of(form, args), n).flops / 1e9 for n in lengths], colour, lw=1)
        axes[0].plot(frames, [row["flops"] / 1e9 for row in rows], "o", color=colour, label=form)
        axes[1].plot(frames, [row["cpu_s"] for row in rows], "o-", color=colour)
        axes[2].plot(frames, [row["grown_mib"] for row in rows], "o-", color=colour)
    names = "GFLOPs: counted (points), planned (lines)", "CPU seconds", "growth of the peak, MiB"
    for axis, name in zip(axes, names, strict=True):
        axis.set(title=name, xlabel="frames")
    axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", nargs="+", type=int, default=[16, 32, 64, 128, 256])
    parser.add_argument("--segments", type=int, default=1000)
    parser.add_argument("--cap", type=int, default=256)
    parser.add_argument("--memories", type=int, default=16)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(stream(args) if args.only == ["stream"] else one(args.only[0], int(args.only[1]), args)))
        return
    points: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for frames in args.frames:
        for form in FORMS:
            row = measured([form, str(frames)], args)
            row["planned_flops"] = plan(config_of(form, args), frames).flops
            points[form].append(row)
            print(
                f"{form:13}{frames:5} frames  {row['cpu_s']:8.3f} CPU s  {row['grown_mib']:8.1f} MiB  "
                f"{row['flops'] / 1e9:8.2f} GFLOPs, planned {row['planned_flops'] / 1e9:8.2f}"
            )
    streamed = measured(["stream"], args)
    print(
        f"stream of {args.segments} segments, {args.cap} memories at most: from segment {streamed['full_after'] + 1} on, CPU "
        f"time of the slowest block over the fastest {streamed['slowest_over_fastest']}, of the last over the first "
        f"{streamed['last_over_first']}; peak {streamed['peak_mib']} MiB"
    )
    args.out.mkdir(parents=True, exist_ok=True)
    with whole_file(args.out / "results.json") as temporary:
        temporary.write_text(json.dumps({"forms": points, "stream": streamed}, indent=1))
    try:
        draw(points, args, args.out / "cost.png")
    except ImportError:
        print("no picture: pip install 'tapetum[view]'")


if __name__ == "__main__":
    main()
