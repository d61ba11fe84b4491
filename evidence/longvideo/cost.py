"""What a longer video costs in each form of memory: time, memory and FLOPs against frames, and a stream whose memory has a cap.

    python evidence/longvideo/cost.py OUT [--frames 16 32 64 128 256 512] [--segments 1000]

Every point is a process of its own (a fork, which has loaded torch), so that peaks are its own; the order goes round the forms,
since machines are shared. Time is CPU time of one thread, the least of several calls; memory is by how much the peak of the
process grows in a call; FLOPs are counted while it runs. What `equations.py` says, the equations of MC-ViT's
section 3, is drawn as lines over the counted points.

Streams are of a smaller network. Short ones without a cap say what an added segment costs more than the one before; short
ones with a cap, and three long ones, whether anything grows once the cap is full. Seconds are medians over streams, and in the
long ones of blocks of 100 segments. Claim C3 of MC-ViT in these terms:

    growth    from segment to segment the multiply-adds grow by K / N of those of the segment's attention to itself, at most
    flat      with a cap, seconds of segments 5 to 32 are within 10 % of their median, those of the long streams' blocks too; at
              the end memories and peak of the process are within 10 % of what they were when the cap was full
    joint     twice the video is more than three times the attention, where streaming pays twice

OUT/results.json has all numbers, and what is in it is not measured again; OUT/cost.png has the curves (with matplotlib: the
extra view).
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from equations import compute_cost
from tapetum.account.flops import count_flops
from tapetum.core.files import whole_file
from tapetum.systems.longvideo.config import VideoConfig, named
from tapetum.systems.longvideo.encoder import VideoEncoder

FORMS = "joint", "streaming", "augmented", "consolidated"
BLOCK = 100
"""Segments of a long stream of which a median is taken."""
SHORT = 32
"""Segments of a short stream."""
Row = dict[str, float]


def config_of(form: str, args: argparse.Namespace) -> VideoConfig:
    """The encoder: frames of 64 x 64, 128 tokens a segment."""
    return named(
        "vivit-nano",
        width=args.width,
        depth=args.depth,
        heads=args.width // 64,
        mlp_width=4 * args.width,
        size=(64, 64),
        frames=max(args.frames),
        memory=form,
        memories=args.memories,
    )


def stream_config(args: argparse.Namespace, cap: int | None) -> VideoConfig:
    """A smaller one, which keeps keys and values of its memories."""
    small = replace(config_of("consolidated", args), width=64, depth=2, heads=2, mlp_width=256)
    return replace(small, memory_cap=cap, cache_projected=True)


def peak_mib() -> float:
    """The peak of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def one(form: str, frames: int, args: argparse.Namespace) -> Row:
    """Measure one point."""
    torch.manual_seed(0)
    encoder = VideoEncoder(config_of(form, args)).eval()
    video = torch.rand(1, frames, 64, 64, 3) * 2 - 1
    with torch.inference_mode():
        encoder(torch.zeros(1, 18, 64, 64, 3))  # two segments, so that what is loaded at first use is not counted
        before, best = peak_mib(), float("inf")
        for _ in range(args.repeats):
            began = time.process_time()
            encoder(video)
            best = min(best, time.process_time() - began)
    grown = peak_mib() - before
    with torch.no_grad():
        flops = count_flops(lambda: encoder(video)).total
    return {"frames": frames, "cpu_s": best, "grown_mib": grown, "flops": flops}


def stream(cap: int | None, segments: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Measure each segment of a stream: CPU seconds, bytes of memories, peak of the process."""
    torch.manual_seed(0)
    encoder = VideoEncoder(stream_config(args, cap)).eval()
    segment = torch.rand(1, 16, 64, 64, 3) * 2 - 1
    rows: dict[str, list[float]] = {"cpu_s": [], "bytes": [], "peak_mib": []}
    with torch.inference_mode():
        for _ in range(3):  # what is loaded at first use is no segment's
            encoder.step(encoder.start(1), segment)
        state = encoder.start(1)
        for _ in range(segments):
            began = time.process_time()
            state, _ = encoder.step(state, segment)
            rows["cpu_s"].append(time.process_time() - began)
            rows["bytes"].append(state.bytes)
            rows["peak_mib"].append(peak_mib())
    return rows


def stream_flops(args: argparse.Namespace) -> list[int]:
    """Count each segment of a short stream without a cap."""
    encoder = VideoEncoder(stream_config(args, None)).eval()
    segment = torch.rand(1, 16, 64, 64, 3) * 2 - 1
    state, found = encoder.start(1), []
    with torch.no_grad():
        for _ in range(SHORT):
            made: list[Any] = []
            found.append(count_flops(lambda state=state, made=made: made.append(encoder.step(state, segment))).total)
            state = made[0][0]
    return found


def apart(measure: Callable[..., Any], *inputs: Any) -> Any:
    """Measure in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(measure, inputs)


def streams(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all streams; see the module."""
    full = -(-args.cap // args.memories)
    free = [apart(stream, None, SHORT, args) for _ in range(args.streams)]
    capped = [apart(stream, args.cap, SHORT, args) for _ in range(args.streams)]
    long = [apart(stream, args.cap, args.segments, args) for _ in range(3)]
    firsts = sorted({*range(full, args.segments - BLOCK + 1, BLOCK), args.segments - BLOCK})
    blocks = [[median(rows["cpu_s"][k : k + BLOCK]) for k in firsts] for rows in long]
    return {
        "cap": args.cap,
        "full_after": full,
        "segments": args.segments,
        "flops": stream_flops(args),
        "blocks_from": firsts,
        "free_cpu_s": _over(free),
        "capped_cpu_s": _over(capped),
        "blocks_cpu_s": [median(column) for column in zip(*blocks, strict=True)],
        "bytes": [long[0]["bytes"][full], long[0]["bytes"][-1]],
        "peak_mib": [[rows["peak_mib"][full], rows["peak_mib"][-1]] for rows in long],
    }


def _over(found: list[dict[str, list[float]]]) -> list[float]:
    return [median(column) for column in zip(*(rows["cpu_s"] for rows in found), strict=True)]


def claim(forms: dict[str, list[Row]], found: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """What the numbers say of C3."""
    config = stream_config(args, None)
    tokens = config.segment_slots * config.grid[0] * config.grid[1]
    own = 2 * config.depth * 2 * tokens**2 * config.width  # FLOPs of a segment's attention to itself
    steps = [b - a for a, b in zip(found["flops"], found["flops"][1:], strict=False)]
    parts = {
        "growth_over_own_attention": max(steps) / own,
        "memories_over_tokens": args.memories / tokens,
        "short_spread": _spread(found["capped_cpu_s"][found["full_after"] :]),
        "long_spread": _spread(found["blocks_cpu_s"]),
        "last_over_first_block": found["blocks_cpu_s"][-1] / found["blocks_cpu_s"][0],
        "bytes_grown": found["bytes"][1] / found["bytes"][0] - 1,
        "peak_grown": max(last / first for first, last in found["peak_mib"]) - 1,
        "joint_doubled": _looking("joint", args) / _looking("joint", args, 2),
        "streaming_doubled": _looking("streaming", args) / _looking("streaming", args, 2),
        "counted_off_plan": {
            form: max(abs(row["flops"] / row["planned_flops"] - 1) for row in rows) for form, rows in forms.items()
        },
    }
    holds = {
        "growth": parts["growth_over_own_attention"] <= parts["memories_over_tokens"] * (1 + 1e-9),
        "flat": all(parts[name] <= 0.1 for name in ("short_spread", "long_spread", "bytes_grown", "peak_grown")),
        "joint": parts["joint_doubled"] > 3 and parts["streaming_doubled"] < 2.01,
    }
    return {**parts, "holds": holds, "C3": "held" if all(holds.values()) else "falsified"}


def _spread(values: list[float]) -> float:
    """By how much the farthest is off the median."""
    return max(abs(each / median(values) - 1) for each in values)


def _looking(form: str, args: argparse.Namespace, part: int = 1) -> int:
    return compute_cost(config_of(form, args), max(args.frames) // part).attention


def draw(forms: dict[str, list[Row]], found: dict[str, Any], args: argparse.Namespace, path: Path) -> None:
    """Draw counted FLOPs over the plan's, time and memory, and a stream's seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    for colour, (form, rows) in zip(("C0", "C1", "C2", "C3"), forms.items(), strict=True):
        frames = [row["frames"] for row in rows]
        lengths = range(16, max(args.frames) + 1, 16)
        axes[0].plot(lengths, [compute_cost(config_of(form, args), n).flops / 1e9 for n in lengths], colour, lw=1)
        axes[0].plot(frames, [row["flops"] / 1e9 for row in rows], "o", color=colour, label=form)
        axes[1].plot(frames, [row["cpu_s"] for row in rows], "o-", color=colour)
        axes[2].plot(frames, [row["grown_mib"] for row in rows], "o-", color=colour)
    seconds = [1e3 * each for each in found["blocks_cpu_s"]]
    axes[3].plot([first + BLOCK / 2 for first in found["blocks_from"]], seconds, "o-", color="C3")
    axes[3].set_ylim(0, 1.3 * max(seconds))
    names = (
        "GFLOPs: counted (points), equations (lines)",
        "CPU seconds",
        "growth of the peak, MiB",
        "with a cap: CPU ms a segment",
    )
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("segments" if axis is axes[3] else "frames")
    axes[0].legend()
    figure.savefig(path)


def points(args: argparse.Namespace) -> dict[str, list[Row]]:
    """Measure all lengths of all forms."""
    forms: dict[str, list[Row]] = {form: [] for form in FORMS}
    for frames in args.frames:
        for form in FORMS:
            row = apart(one, form, frames, args)
            row["planned_flops"] = compute_cost(config_of(form, args), frames).flops
            forms[form].append(row)
            print(
                f"{form:13}{frames:5} frames  {row['cpu_s']:8.3f} CPU s  {row['grown_mib']:8.1f} MiB  "
                f"{row['flops'] / 1e9:8.2f} GFLOPs, planned {row['planned_flops'] / 1e9:8.2f}",
                flush=True,
            )
    return forms


def keep(file: Path, content: dict[str, Any]) -> None:
    """Write what there is."""
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", nargs="+", type=int, default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--segments", type=int, default=1000, help="of a long stream")
    parser.add_argument("--streams", type=int, default=25, help="short ones of each kind")
    parser.add_argument("--cap", type=int, default=64)
    parser.add_argument("--memories", type=int, default=16)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.segments < 2 * BLOCK or args.width % 64 or min(args.frames) < 16:
        parser.error(f"give {2 * BLOCK} segments or more, a width that is a multiple of 64, and videos of 16 frames or more")
    torch.set_num_threads(1)
    settings = {name: value for name, value in vars(args).items() if name != "out"}
    file = args.out / "results.json"
    made = json.loads(file.read_text()) if file.exists() else {}
    made = made if made.get("settings") == settings else {}
    args.out.mkdir(parents=True, exist_ok=True)
    forms = made.get("forms") or points(args)
    keep(file, {"settings": settings, "forms": forms})
    found = made.get("streams") or streams(args)
    said = claim(forms, found, args)
    print(json.dumps(said, indent=1))
    parts = {name: value for name, value in said.items() if name != "C3"}
    keep(file, {"settings": settings, "forms": forms, "streams": found, "C3": parts})
    try:
        draw(forms, found, args, args.out / "cost.png")
    except ImportError:
        print("no image: pip install 'tapetum[view]'")


if __name__ == "__main__":
    main()
