"""`tapetum track` as a whole process: frames per second, how often a frame is decoded, and the most memory.

    python benchmarks/track_passes.py [--frames 300] [--size 640x480] [--trees BEFORE AFTER] [--pairs 2] [-- OPTIONS OF TRACK]

Makes a clip itself (an image of several scales that slides on a closed path, h264, one key frame in 250 frames) and tracks in
it with each tree of sources, in turns, `--pairs` times; a tree is a checkout, by default this one alone. Every run is a process
of its own, from the start of Python to the last file written. Columns: frames of the video a second of wall clock; seconds of
processor in user mode, which a busy machine disturbs less, and in the system; frames that came out of the decoder for each
frame of the video, counted where FFmpeg gives them out; how many of these were turned into RGB; the most memory that was
resident. Says at the end whether all runs wrote the same tracks and the same images.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CHILD = """
import json, resource, sys, time
began = time.perf_counter()
from tapetum.app.shell.main import main
from tapetum.video import files
from tapetum.video.decode import FileDecoder

count = {"decoded": 0, "converted": 0}
decode, convert = FileDecoder._decode, files.upright_rgb

def decoded(self, packet):
    frames = decode(self, packet)
    count["decoded"] += len(frames)
    return frames

def converted(*given):
    count["converted"] += 1
    return convert(*given)

FileDecoder._decode, files.upright_rgb = decoded, converted
code = main(sys.argv[2:])
seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_SELF)
row = {"seconds": seconds, "user": used.ru_utime, "system": used.ru_stime, "megabytes": used.ru_maxrss / 1024, **count}
with open(sys.argv[1], "w") as file:
    json.dump(row, file)
sys.exit(code)
"""


def sliding(frames, width, height):
    """Frames of an image of several scales that slides by on a closed path."""
    from PIL import Image

    rng, image = np.random.default_rng(0), np.zeros((2 * height, 2 * width, 3), np.float32)
    for cell in (4, 8, 16, 32, 64):
        coarse = rng.integers(0, 256, (2 * height // cell + 1, 2 * width // cell + 1, 3), dtype=np.uint8)
        image += np.asarray(Image.fromarray(coarse).resize((2 * width, 2 * height), Image.Resampling.BICUBIC))
    image -= image.min()
    image = np.rint(image * 255 / image.max()).astype(np.uint8)
    for t in range(frames):
        x = round(width / 2 * (1 + np.sin(t / 60)))
        y = round(height / 2 * (1 + np.cos(t / 75)))
        yield image[y : y + height, x : x + width]


def run(tree, clip, folder, options):
    """One run: what the child measured, and sums of what it wrote."""
    from tapetum.types import Tracks
    from tapetum.video import open_video

    told, out = folder / "row.json", folder / "out"
    command = [sys.executable, "-c", CHILD, told, "track", clip, "--out", out, *options]
    env = {**os.environ, "PYTHONPATH": str(Path(tree).resolve() / "src")}
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, env=env)
    tracks, images = Tracks.load(out / "tracks.npz"), hashlib.sha256()
    for frame in open_video(out / "overlay.mp4"):
        images.update(frame)
    written = [hashlib.sha256(array.tobytes()).hexdigest() for array in (tracks.xy, tracks.visible, tracks.confidence)]
    return json.loads(told.read_text()), [*written, images.hexdigest()]


def main():
    """The runs, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--trees", nargs="+", default=[Path(__file__).parents[1]])
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("options", nargs="*", help="of tapetum track, after --")
    args = parser.parse_args()
    width, height = (int(part) for part in args.size.split("x"))
    from tapetum.video import write_video

    rows = {str(tree): [] for tree in args.trees}
    sums = []
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mp4"
        write_video(clip, sliding(args.frames, width, height), 30)
        print(f"{args.frames} frames of {args.size}, {clip.stat().st_size / 1e6:.1f} MB; load {os.getloadavg()[0]:.1f}")
        print("frames/s  user s  system s  decoded/frame  RGB/frame  most MB  tree", flush=True)
        for _ in range(args.pairs):
            for tree in rows:
                row, written = run(tree, clip, Path(name), args.options)
                rows[tree].append(row)
                sums.append(written)
                print(text(row, args.frames), tree, flush=True)
    for tree, several in rows.items():
        print(text({key: statistics.median(row[key] for row in several) for key in several[0]}, args.frames), "median", tree)
    for what, each in zip(("places", "visible", "confidence", "images"), zip(*sums, strict=True), strict=True):
        print(f"{what}: {'the same in all runs' if len(set(each)) == 1 else 'NOT the same in all runs'}")


def text(row, frames):
    """A row of the table."""
    return (
        f"{frames / row['seconds']:8.2f}  {row['user']:6.1f}  {row['system']:8.1f}  {row['decoded'] / frames:13.2f}  "
        f"{row['converted'] / frames:9.2f}  {row['megabytes']:7.0f} "
    )


if __name__ == "__main__":
    main()
