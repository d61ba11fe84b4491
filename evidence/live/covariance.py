"""Fits, and checks, the factors of the covariance of a live point.

    python evidence/live/covariance.py [--clips 12] [--textures photos.parquet] [--dump FOLDER]

Points are followed frame by frame by causal-tapir-nano through clips of the physical world. Fitted on clips of one seed with
the textures of training; checked on clips of another with held-out textures. Printed are the constants for
`tapetum.systems.tap.tracking.follower` and `tapetum.tracks.patches`, and the share of visible points that lie in the 68 %
ellipse: of all, of those that were aligned, and of those by the network alone.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import tapetum
from tapetum.systems.tap.tracking import follower
from tapetum.tracks import patches
from tapetum_world.training.point_clips import EpisodeClips

MODEL, POINTS, INSIDE = "causal-tapir-nano", 48, 2.2958
"""INSIDE: the squared distance, in standard deviations, within which 68.27 % of a Gaussian in the plane lie."""


def follow(tracker, clip):
    """Rows of every point in every frame after its first: error x y, visible, confidence, aligned, covariance."""
    rows = np.flatnonzero(clip.visible[:, 0])[:POINTS]
    stream = tracker.start(clip.video[0:1][0], clip.xy[rows, 0])
    table = []
    for number in range(len(clip.video)):
        stream, tracks = tracker.step(stream, clip.video[number : number + 1][0])
        if number:
            error, truth = tracks.xy - clip.xy[rows, number], clip.visible[rows, number]
            shape = tracks.covariance.reshape(-1, 4)
            aligned = stream.anchors.aligned.numpy()
            table.append(np.column_stack([error, truth, tracks.confidence, aligned, shape]))
    return np.concatenate(table)


def rows_of(tracker, given, seed, part):
    """The table of all clips of a part, kept in the dump where there is one."""
    clips = EpisodeClips(given.clips, seed=seed, textures=given.textures, part=part if given.textures else "all")
    every = []
    for k in range(given.clips):
        file = None if given.dump is None else given.dump / f"{part}-{k:03d}.npy"
        if file is None or not file.exists():
            table = follow(tracker, clips[k])
            if file is not None:
                np.save(file, table)
        else:
            table = np.load(file)
        every.append(table)
        print(part, k, len(table), flush=True)
    return np.concatenate(every)


def squared_distance(table, covariance):
    """Errors in standard deviations, squared."""
    error = table[:, :2]
    return (error * np.linalg.solve(covariance, error[..., None])[..., 0]).sum(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--textures")
    parser.add_argument("--dump", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    tracker = tapetum.load(MODEL)
    train, test = rows_of(tracker, given, 31, "train"), rows_of(tracker, given, 2024, "held-out")

    def shapes(table, network, patch):
        """Covariances with other factors than those of the package."""
        now, aligned = table[:, 5:].reshape(-1, 2, 2), table[:, 4] > 0
        least = patches.PATCH_LEAST**2 * np.eye(2)
        of_patch = (now - least) * patch / patches.PATCH_FACTOR + least
        return np.where(aligned[:, None, None], of_patch, now * network / follower.NETWORK_FACTOR)

    def counted(table):
        return table[(table[:, 2] > 0) & (table[:, 3] > 0.5)]

    shown = counted(train)
    factors = []
    for aligned in (0, 1):
        some = shown[shown[:, 4] == aligned]
        low, high = 1e-4, 1e6
        for _ in range(60):
            middle = np.sqrt(low * high)
            inside = (squared_distance(some, shapes(some, middle, middle)) < INSIDE).mean()
            low, high = (middle, high) if inside < 0.6827 else (low, middle)
        factors.append(middle)
    print(f"NETWORK_FACTOR = {factors[0]:.3g}\nPATCH_FACTOR = {factors[1]:.3g}")
    for name, table, chosen in (
        ("training, fitted", shown, factors),
        ("held out, fitted", counted(test), factors),
        ("held out, as in the package", counted(test), (follower.NETWORK_FACTOR, patches.PATCH_FACTOR)),
    ):
        inside = squared_distance(table, shapes(table, *chosen)) < INSIDE
        parts = " ".join(f"{inside[table[:, 4] == a].mean():.3f} of {(table[:, 4] == a).sum()}" for a in (1, 0))
        print(f"{name}: {inside.mean():.3f} of {len(inside)} in the 68 % ellipse; aligned, network alone: {parts}")


if __name__ == "__main__":
    main()
