"""Fits, and checks, the calibration of a tracker's confidence (`tapetum.systems.tap.tracking.calibration`).

    python evidence/tapir-nano/calibration.py --dump FOLDER [--model tapir-nano] [--train 30] [--held-out 30] [--skip 0]

Points are tracked through clips of the physical world, asked for where they first appear or in some other frame. Fitted on the
training clips; checked on others, of another seed. A place is right where its point is visible and at most 8 pixels of 256
away. Printed are the numbers of the package, and of held-out places the expected calibration error (10 bins), before and after,
of all and of those that the tracker calls visible; and how many of the most doubtful visible places are truly wrong. What was
tracked stays in the folder, so that a run that was stopped goes on.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

import tapetum
from tapetum.systems.tap.tracking.calibration import CALIBRATIONS, Calibration, features_of
from tapetum_world.training.point_clips import EpisodeClips

POINTS, NEAR, SEEDS = 40, 8.0, {"train": 4100, "test": 4200}


def clip_rows(path, model):
    """Rows of a clip: right, visible, confidence, frames since the query."""
    file = np.load(path)
    xy, visible, confidence, queries = (file[f"{model}/{name}"] for name in ("xy", "visible", "confidence", "queries"))
    right = file["visible"] & (np.linalg.norm(xy - file["truth"], axis=-1) <= NEAR)
    frames = np.abs(np.arange(visible.shape[1]) - queries[:, :1])
    used = frames > 0
    return np.column_stack([each[used] for each in (right, visible, confidence, frames)])


def track_clip(tracker, model, clip, number, path):
    """Track points of a clip, and write the file of it."""
    rng = np.random.default_rng((7, number))
    rows = rng.permutation(np.flatnonzero(clip.visible.any(1)))[:POINTS]
    visible = clip.visible[rows]
    first = visible.argmax(1)
    at = np.where(rng.random(len(rows)) < 0.5, first, [rng.choice(np.flatnonzero(each)) for each in visible])
    if tracker.model.config.causal:
        at = first
    queries = np.column_stack([at, clip.xy[rows, at]]).astype(np.float32)
    tracks = tracker.track(clip.video[0 : len(clip.video)], queries)
    arrays = {f"{model}/{name}": getattr(tracks, name) for name in ("xy", "visible", "confidence", "queries")}
    np.savez(path, truth=clip.xy[rows], visible=visible, **arrays)


def rows_of(given, part, count, skip=0):
    """Rows of all clips of a part, those that are not in the folder yet tracked first."""
    clips, tracker, every = EpisodeClips(max(count, 200), seed=SEEDS[part]), None, []
    for number in range(skip, count):
        path = given.dump / f"{part}-{number:03d}.npz"
        if not path.exists():
            tracker = tracker or tapetum.load(given.model)
            track_clip(tracker, given.model, clips[number], number, path)
        every.append(clip_rows(path, given.model))
    return np.concatenate(every)


def fit(table):
    """Numbers of the calibration by maximum likelihood, slopes and age not negative."""
    features, right = features_of(table[:, 2], table[:, 3]), table[:, 0]

    def loss(weights):
        odds = features @ weights
        chance = 1 / (1 + np.exp(-odds))
        value = np.logaddexp(0, odds).sum() - (right * odds).sum() + (weights**2).sum() / 2
        return value, features.T @ (chance - right) + weights

    bounds = [(None, None), *[(0, None)] * (features.shape[1] - 1)]
    weights = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x.round(3).tolist()
    return Calibration(bias=weights[0], slopes=tuple(weights[1:-1]), age=weights[-1])


def calibration_error(chance, right, bins=10):
    """Expected calibration error: how far shares and mean chances of equal bins are apart, weighed by their places."""
    bin_of = np.minimum((chance * bins).astype(int), bins - 1)
    return sum(abs(chance[bin_of == k].sum() - right[bin_of == k].sum()) for k in range(bins)) / len(right)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--train", type=int, default=30)
    parser.add_argument("--held-out", type=int, default=30)
    parser.add_argument("--skip", type=int, default=0, help="first held-out clips that are left out of the check")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.dump.mkdir(parents=True, exist_ok=True)
    train, test = rows_of(given, "train", given.train), rows_of(given, "test", given.held_out, given.skip)
    fitted = fit(train)
    print(fitted)
    right, visible = test[:, 0], test[:, 1] > 0
    kinds = {"as tracked": test[:, 2], "fitted": fitted.apply(test[:, 2], test[:, 3])}
    if given.model in CALIBRATIONS:
        kinds["as in the package"] = CALIBRATIONS[given.model].apply(test[:, 2], test[:, 3])
    for name, chance in kinds.items():
        errors = calibration_error(chance, right), calibration_error(chance[visible], right[visible])
        worst = np.argsort(chance[visible], kind="stable")[: visible.sum() // 20]
        wrong = 1 - right[visible]
        print(
            f"{name}: {errors[0]:.4f} of {len(right)}, visible {errors[1]:.4f} of {len(wrong)}; wrong are {wrong.mean():.3f} "
            f"of the visible, and {wrong[worst].mean():.3f} of the twentieth with the lowest confidence"
        )


if __name__ == "__main__":
    main()
