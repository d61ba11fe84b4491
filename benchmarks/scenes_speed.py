"""How fast the physical world is simulated and filmed, and what memory long videos take.

    OMP_NUM_THREADS=1 python benchmarks/scenes_speed.py film [--frames 24] [--repeats 3] [--profile]
    python benchmarks/scenes_speed.py physics [--seconds 10] [--seeds 3] [--hour]
    python benchmarks/scenes_speed.py memory [--minutes 1 10 60] [--size 48] [--rate 2] [--story mixture] [--json OUT.json]

`film` prints frames per second of the film of an episode, on one core: six bodies of which one is hollow, shadows, blur,
noise, JPEG. User CPU time of this process is what counts (the machine may be shared); the wall clock's figure stands beside
it. "table" has three fixed bodies besides (a table, a wall, a floor); "with a sheet" adds a bent sheet of 9 x 11 points,
"moving camera, lens" films the garden with depth of field and blur everywhere. The last lines tell whether memory grows with
the number of frames, and what the truth costs.

`physics` prints for each story the processor's seconds for an episode (mean and worst of the seeds), and bytes kept; with
`--hour`, the memory of the process after each ten minutes of an hour's episode told in parts.

`memory` runs `tapetum scenes episodes` for videos of a minute, ten minutes and an hour, each in a process of its own. All that
an episode has is written: video, sound, records, annotations, tracks. Prints the peak of resident memory, how much of it was
there before the work began, the time, and what the files take.
"""

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tapetum_world.physics import STORIES, episode_parts, make_episode
from tapetum_world.rendering import GroundTruth, RenderConfig, render_episode

sys.path.append(str(Path(__file__).parents[1] / "packages" / "world" / "tests" / "world_support"))

import still_life

ALONE = """
import resource, sys
from tapetum.app.make.scenes import episodes
import tapetum_world.files.episodes
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder, seconds, size, rate, story = sys.argv[1:]
made = episodes(folder, n=1, seconds=float(seconds), size=int(size), frame_rate=float(rate), story=story, points=16)
used = resource.getrusage(resource.RUSAGE_SELF)
print(made.frames, made.questions, before / 1024, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""


def rate(call, frames, repeats):
    """Best frames per second of user CPU time, of user and system, and of the wall clock."""
    call()
    best = []
    for _ in range(repeats):
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        call()
        after = resource.getrusage(resource.RUSAGE_SELF)
        user = after.ru_utime - before.ru_utime
        best.append((user, user + after.ru_stime - before.ru_stime, time.perf_counter() - wall))
    return [frames / min(b[i] for b in best) for i in range(3)]


def film(args):
    """Print frames per second."""
    torch.set_num_threads(1)
    n = args.frames
    print(f"numpy {np.__version__}, torch {torch.__version__}, one thread, {n} frames, best of {args.repeats}")
    print(f"{'':<32}{'frames/s of user CPU':>22}{'user + system':>15}{'wall clock':>12}")
    for side in (256, 96):
        for name, made in (
            ("table", still_life.table((side, side), n, sheet=False)),
            ("table with a sheet", still_life.table((side, side), n)),
            ("garden, moving camera, lens", still_life.garden((side, side), n)),
        ):
            user, cpu, wall = rate(lambda made=made: [None for _ in render_episode(made)], n, args.repeats)
            print(f"{side}x{side} {name:<28}{user:>18.1f}{cpu:>15.1f}{wall:>12.1f}", flush=True)
            if args.profile:
                profile = cProfile.Profile(time.process_time)
                profile.runcall(lambda made=made: [None for _ in render_episode(made)])
                pstats.Stats(profile).sort_stats("tottime").print_stats(18)
    made = still_life.table((96, 96), 400, sheet=False, per_frame=1)
    grown = []
    for number, _ in enumerate(render_episode(made, config=RenderConfig())):
        if number in (40, 399):
            grown.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"memory at frame 40: {grown[0]:.0f} MB, at frame 399: {grown[1]:.0f} MB")
    made = still_life.table((256, 256), 24)
    truth = GroundTruth(made)
    points, _, _ = truth.sample(np.random.default_rng(0), 256)
    for name, call in (
        ("256 points followed", lambda: truth.follow(points)),
        ("masks", lambda: [truth.masks(i) for i in range(24)]),
    ):
        print(f"truth, 256x256, {name:<22}{rate(call, 24, 1)[0]:>10.1f} frames/s of user CPU")


def physics(args):
    """Print seconds of simulation by story."""
    print("story          bodies  mean s worst s     MB actions", f"  for {args.seconds:g} s of episode")
    total = 0.0
    for story in STORIES:
        took, size, actions, bodies = [], [], [], []
        for seed in range(args.seeds):
            start = time.process_time()
            episode = make_episode(seed, story, seconds=args.seconds)
            took.append(time.process_time() - start)
            size.append((episode.poses.nbytes + sum(s.nbytes for s in episode.sheets.values())) / 1e6)
            actions.append(len(episode.actions))
            bodies.append(len(episode.bodies))
        total += float(np.sum(took))
        told = f"{np.mean(bodies):6.0f} {np.mean(took):7.2f} {max(took):7.2f} {np.mean(size):6.1f} {np.mean(actions):7.1f}"
        print(f"{story:14s} {told}")
    print(f"mean of all: {total / len(STORIES) / args.seeds:.2f} s of one core for {args.seconds:g} s")
    if args.hour:
        hour()


def hour():
    """Tell an hour and watch the memory."""
    start, told = time.process_time(), 0.0
    for part in episode_parts(0, "mixture", seconds=3600, part_seconds=60, size=(64, 64)):
        before, told = told, told + part.seconds
        if told // 600 > before // 600 or told >= 3600:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{told / 60:5.1f} min told, {time.process_time() - start:6.1f} s of one core, peak memory {peak:.0f} MB",
                flush=True,
            )


def memory(args):
    """Print the memory of long videos."""
    rows = []
    print("minutes  frames  questions  MB at start  MB at most  CPU s  wall s  MB of files")
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as folder:
            start, words = time.time(), [str(v) for v in (60 * minutes, args.size, args.rate, args.story)]
            command = [sys.executable, "-c", ALONE, f"{folder}/out", *words]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            files = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
        frames, questions, before, peak, cpu = (float(v) for v in told[-5:])
        wall = time.time() - start
        row = {"minutes": minutes, "frames": int(frames), "questions": int(questions), "mb_before": round(before)}
        rows.append(row | {"mb_peak": round(peak), "cpu_s": round(cpu), "wall_s": round(wall), "mb_files": round(files, 1)})
        print(
            f"{minutes:7g} {frames:7.0f} {questions:10.0f} {before:12.0f} {peak:11.0f} {cpu:6.0f} {wall:7.0f} {files:12.1f}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("film")
    part.set_defaults(work=film)
    part.add_argument("--frames", type=int, default=24)
    part.add_argument("--repeats", type=int, default=3)
    part.add_argument("--profile", action="store_true")
    part = parts.add_parser("physics")
    part.set_defaults(work=physics)
    part.add_argument("--seconds", type=float, default=10.0)
    part.add_argument("--seeds", type=int, default=3)
    part.add_argument("--hour", action="store_true")
    part = parts.add_parser("memory")
    part.set_defaults(work=memory)
    part.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    part.add_argument("--size", type=int, default=48)
    part.add_argument("--rate", type=float, default=2.0)
    part.add_argument("--story", default="mixture")
    part.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.work(args)


if __name__ == "__main__":
    main()
