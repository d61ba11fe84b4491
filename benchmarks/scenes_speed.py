"""Frames per second of the film of an episode, on one core: six bodies of which one is hollow, shadows, blur, noise, JPEG.

    OMP_NUM_THREADS=1 python benchmarks/scenes_speed.py [--frames 24] [--repeats 3] [--profile]

User CPU time of this process is what counts (the machine may be shared); the wall clock's figure stands beside it. "table" has
three fixed bodies besides (a table, a wall, a floor); "with a sheet" adds a bent sheet of 9 x 11 points, "moving camera, lens"
films the garden with depth of field and blur everywhere. The last lines tell whether memory grows with the number of frames,
and what the truth costs.
"""

import argparse
import cProfile
import pstats
import resource
import time

import numpy as np
import torch

import still_life
from tapetum.world.rendering import GroundTruth, RenderConfig, render_episode


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
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


if __name__ == "__main__":
    main()
