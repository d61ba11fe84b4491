"""Exported programs under onnxruntime beside the tracker that they come from.

    python benchmarks/tap_export.py [--models tapir-nano tapir ...] [--frames 8] [--points 16] [--threads 2]

Each network is exported for clips of 256x256 pixels (causal ones also frame by frame), and run on a synthetic clip: tapir-nano
and causal-tapir-nano with their weights, the official architectures with random ones. `apart` is the largest difference
between tracks in px, over all points and frames; `jitter` how far ours move by themselves when all pixels change by a
ten-millionth, which is a rounding; `nodes` those of the ONNX graph; then seconds of the export, and of one run of each.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

import tapetum
from tapetum.hub.registry import known
from tapetum.systems.tap.export import clip_program, live_program
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.tracks.programs import export

SIZE = (256, 256)
OFFICIAL = ["tapir", "causal-tapir", "bootstapir", "causal-bootstapir"]


def session_of(path, threads):
    """An onnxruntime session on so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options)


def timed(call):
    """Seconds of the second of two calls, and its result."""
    call()
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def clip_row(tracker, clip, queries, folder, threads):
    """Apart, nodes, megabytes, seconds of export, of onnxruntime, of ours."""
    program = clip_program(tracker, frames=len(clip), size=SIZE, points=len(queries))
    begin = time.perf_counter()
    path = export(program, folder / "clip.onnx")
    spent = time.perf_counter() - begin
    session = session_of(path, threads)
    video = (clip.astype(np.float32) / 127.5 - 1)[None]
    theirs, found = timed(lambda: session.run(["tracks"], {"video": video, "queries": queries[None]})[0][0])
    ours, tracks = timed(lambda: tracker.track(clip, queries, polish=False).xy)
    return np.abs(found - tracks).max(), nodes(path), path.stat().st_size / 1e6, spent, theirs, ours


def online_row(tracker, clip, queries, folder, threads):
    """The same frame by frame, in seconds a frame."""
    program = live_program(tracker, size=SIZE)
    begin = time.perf_counter()
    path = export(program, folder / "live.onnx")
    spent = time.perf_counter() - begin
    session = session_of(path, threads)
    rows = {n: np.zeros((len(queries), *program.inputs[n].shape[1:]), np.float32) for n in ("features", "state")}
    stream = tracker.start(clip[0], queries[:, 1:], polish=False)
    apart, theirs, ours, asked = 0.0, [], [], queries[:, 1:]
    for frame in clip:
        begin = time.perf_counter()
        stream, seen = tracker.step(stream, frame)
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        xy, _, *after = session.run(None, {"frame": frame, "query_xy": asked, **rows})
        theirs.append(time.perf_counter() - begin)
        rows, asked = dict(zip(rows, after, strict=True)), np.full_like(asked, np.nan)
        apart = max(apart, float(np.abs(xy - seen.xy).max()))
    return apart, nodes(path), path.stat().st_size / 1e6, spent, float(np.median(theirs)), float(np.median(ours))


def jitter(tracker, clip, queries):
    """The farthest that a point moves when pixels change by a ten-millionth."""
    video, asked = torch.from_numpy(clip)[None].float() / 127.5 - 1, torch.from_numpy(queries)[None]
    with torch.inference_mode():
        tracks = [tracker.model(video * factor, asked).tracks for factor in (1, 1 + 1e-7)]
    return float((tracks[1] - tracks[0]).abs().max())


def nodes(path):
    """Operations in an ONNX file; none may resample in 5-D."""
    graph = onnx.load(path).graph
    kinds = {node.op_type for node in graph.node}
    assert "GridSample" not in kinds, "all sampling is by gathering cells"
    return len(graph.node)


def main():
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["tapir-nano", "causal-tapir-nano", *OFFICIAL])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    made = make_clip(3, SceneConfig(size=SIZE, frames=args.frames), points=args.points)
    clip, queries = made.video, made.queries.astype(np.float32)
    print(f"{args.frames} frames, {len(queries)} points, {args.threads} threads, load {os.getloadavg()[0]:.1f}")
    print("program                     apart  jitter  nodes      MB  export s  onnxruntime s  ours s")
    for name in args.models:
        tracker = tapetum.load(name) if known()[name].bundled else tapetum.tap.build(name)
        own = jitter(tracker, clip, queries)
        rows = [("clip", clip_row)] + [("step", online_row)] * tracker.model.config.causal
        for kind, row in rows:
            with tempfile.TemporaryDirectory() as folder:
                apart, count, size, spent, theirs, ours = row(tracker, clip, queries, Path(folder), args.threads)
            numbers = f"{apart:>7.5f}{own:>8.5f}{count:>7}{size:>8.1f}{spent:>10.1f}{theirs:>15.3f}{ours:>8.3f}"
            print(f"{name:<22}{kind:<5}{numbers}", flush=True)


if __name__ == "__main__":
    main()
