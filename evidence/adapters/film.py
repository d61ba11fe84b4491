"""A sheet of frames: an expert and learned policies doing a task, as the policy's eye sees it.

    python evidence/adapters/film.py SHEET.png POLICY.safetensors [POLICY.safetensors ...] [--seed 100000] [--columns 8]

A row each for the expert and every policy (files of `tapetum adapt --task clone`, all of one task, camera and size), of one
seed's episode; a last row has the expert's as it looks with shift 1. Says whether each did it. Needs tapetum[robot].
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.systems.adapters import load_headed
from tapetum.systems.adapters.worlds.world import make_world, roll


def row(episode, columns):
    """Frames spread evenly over the episode."""
    numbers = np.linspace(0, len(episode.frames) - 1, columns).astype(int)
    return np.concatenate([episode.frames[i] for i in numbers], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("policies", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--times", type=int, default=2, help="as large as the eye's images")
    args = parser.parse_args()
    policies = [load_headed(path) for path in args.policies]
    about = policies[0].about
    world = make_world(about["world"], about["camera"], about["pixels"])
    expert = roll(world, None, args.seed, stop_after=5)
    rows = [row(expert, args.columns)]
    print(f"expert: done {expert.last}, {len(expert.frames)} steps")
    world.horizon = len(expert.frames) * 5 // 4
    for path, policy in zip(args.policies, policies, strict=True):
        episode = roll(world, policy.act, args.seed, stop_after=5)
        print(f"{path.parent.name}: done {episode.last}, {len(episode.frames)} steps")
        rows.append(row(episode, args.columns))
    world.close()
    world = make_world(about["world"], about["camera"], about["pixels"], shift=1.0)
    rows.append(row(roll(world, None, args.seed, stop_after=5), args.columns))
    world.close()
    sheet = np.concatenate(rows).repeat(args.times, 0).repeat(args.times, 1)
    Image.fromarray(sheet).save(args.sheet, optimize=True)


if __name__ == "__main__":
    main()
