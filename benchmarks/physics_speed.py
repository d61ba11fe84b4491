"""How fast episodes are simulated, on one core: `python benchmarks/physics_speed.py [--seconds 10] [--seeds 3] [--hour]`.

Prints for each story the processor's seconds for an episode (mean and worst of the seeds),
and bytes kept; with `--hour`, the memory of the process after each ten minutes of an hour's episode told in parts.
"""

import argparse
import resource
import time

import numpy as np

from tapetum.world.physics import STORIES, episode_parts, make_episode


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hour", action="store_true")
    args = parser.parse_args()
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


def hour() -> None:
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


if __name__ == "__main__":
    main()
