"""How fast the physical world is simulated and filmed.

    OMP_NUM_THREADS=1 python benchmarks/scenes_speed.py film [--frames 24] [--repeats 3] [--profile]
    python benchmarks/scenes_speed.py physics [--seconds 10] [--seeds 3]

`film` prints frames per second of the film of an episode, on one core: six bodies of which one is hollow, shadows, blur,
noise, JPEG. User CPU time of this process is what counts (the machine may be shared); the wall clock's figure stands beside
it. "table" has three fixed bodies besides (a table, a wall, a floor); "with a sheet" adds a bent sheet of 9 x 11 points,
"moving camera, lens" films the garden with depth of field and blur everywhere. The last lines tell whether memory grows with
the number of frames, and what the truth costs.

`physics` prints for each story the processor's seconds for an episode (mean and worst of the seeds), and bytes kept.
"""

import argparse
import cProfile
import pstats
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from tapetum_world.physics import STORIES, make_episode
from tapetum_world.rendering import GroundTruth, RenderConfig, render_episode

sys.path.append(str(Path(__file__).parents[1] / "packages" / "world" / "tests" / "world_support"))

import still_life


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
    args = parser.parse_args()
    args.work(args)


if __name__ == "__main__":
    main()
