"""Records the answers of the public TAPVid-3D metrics beside random questions.

    python tests/golden/make_tapvid3d_golden.py PATH/OF/metrics.py [--compare 500]

PATH is tapnet/tapvid3d/evaluation/metrics.py of google-deepmind/tapnet; it needs numpy and einops only. Writes
tapvid3d_metrics.npz here; with --compare it also puts that many fresh questions to both implementations, larger ones and
ones with batches too, and prints the largest difference.

Where the public function raises, it is asked in the way that works: queries get a batch axis for per_trajectory, and the
clip's numbers for local_neighborhood come from the same file with its last two means taken over axis 0.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SCALINGS = ("none", "median", "mean", "median_on_queries", "per_trajectory", "local_neighborhood", "reproduce_2d")
CASES = 24


def public_function(path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """The public function, its last two means over axis 0 so that local_neighborhood may answer for a whole clip."""
    text = path.read_text()
    assert text.count("axis=-2") == 4  # two stacks, two means
    scope: dict[str, Any] = {}
    exec(compile(text.replace("axis=-2", "axis=0"), str(path), "exec"), scope)
    return scope["compute_tapvid3d_metrics"]


def question(seed: int, tracks: int = 6, frames: int = 12) -> dict[str, Any]:
    """Random truth and prediction with exact thresholds; by turns NaN, float32, nothing visible, depths of 0 and below."""
    rng = np.random.default_rng(seed)
    n, t = rng.integers(1, tracks + 1), rng.integers(1, frames + 1)
    real = np.float32 if seed % 4 == 3 else np.float64
    truth = (rng.integers(-64, 64, (n, t, 3)) / 256 * rng.choice([1, 8]) + [0, 0, 2]).astype(real)
    focal = rng.choice([64.0, 128.0, 140.0])
    error = (
        rng.choice([0, 0.5, 1, 2, 3, 4, 8, 16], (n, t)) * truth[..., 2] / focal
    )  # of exactly so many pixels where f is a power of 2
    predicted = truth.copy()
    predicted[np.arange(n)[:, None], np.arange(t), rng.integers(0, 3, (n, t))] += error.astype(real)
    predicted = (predicted / rng.choice([1.0, 1.7]) * rng.uniform(0.9, 1.1, (n, 1, 1))).astype(real) if seed % 3 else predicted
    occluded = rng.random((n, t)) < rng.choice([0.1, 0.4])
    if seed % 12 != 5:
        occluded[np.arange(n), rng.integers(0, t, n)] = False
    pred_occluded = occluded ^ (rng.random((n, t)) < 0.2)
    queries = np.stack([(~occluded).argmax(1), np.zeros(n), np.zeros(n)], -1) + rng.choice([0, 0.25], (n, 1))
    queries[:, 0] = queries[:, 0].clip(0, t - 1)
    if seed % 12 == 6:
        predicted[rng.random((n, t)) < 0.2] = rng.choice([np.nan, np.inf])
        truth[occluded] = np.nan
    if seed % 12 == 7:
        occluded[:] = True
        pred_occluded &= seed % 24 == 7
    if seed % 12 == 8:
        pred_occluded[:] = True
    if seed % 12 == 9:
        predicted[rng.integers(0, n), :, 2] *= rng.choice([-1, 0])
        truth[rng.random((n, t)) < 0.1, 2] = 0
    return {
        "gt_occluded": occluded,
        "gt_tracks": truth,
        "pred_occluded": pred_occluded,
        "pred_tracks": predicted,
        "intrinsics_params": np.array([focal, focal, 32, 32]) * rng.choice([1, 1.5], 4),
        "query_points": queries,
        "use_fixed_metric_threshold": bool(seed % 5 == 4),
        "local_neighborhood_thresh": float(rng.choice([0.05, 0.125, 0.5])),
    }


def public_scores(
    public: Callable[..., dict[str, np.ndarray]], q: dict[str, Any], scaling: str, tracks: bool
) -> dict[str, Any]:
    q = q | {"query_points": q["query_points"][None]} if scaling == "per_trajectory" else q
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return public(**q, scaling=scaling, get_trackwise_metrics=tracks)


def is_clean(q: dict[str, Any], scaling: str) -> bool:
    """Whether the public function is right: float64, predictions that are finite, something visible in both for a scale."""
    at = (np.arange(len(q["gt_tracks"])), np.round(q["query_points"][:, 0]).astype(int))
    both = ~(q["gt_occluded"] | q["pred_occluded"])
    found = {"median": both.any(), "mean": both.any(), "median_on_queries": both[at].any()}.get(scaling, True)
    return bool(found and np.isfinite(q["pred_tracks"]).all() and q["gt_tracks"].dtype == np.float64)


def compare(public: Callable[..., dict[str, np.ndarray]], count: int) -> None:
    from tapetum.systems.tapvid3d.metrics import tapvid3d_metrics

    asked, clean, nans, worst = 0, 0, 0, 0.0
    for seed in range(1000, 1000 + count):
        q = question(seed, 40, 60)
        for scaling in SCALINGS:
            for tracks in (False, True):
                theirs = {name: np.ravel(value) for name, value in public_scores(public, q, scaling, tracks).items()}
                ways: list[dict[str, Any]] = [{}] if is_clean(q, scaling) else []
                if tracks or scaling != "local_neighborhood":
                    batch = {"query_points": q["query_points"][None]} if scaling == "per_trajectory" else {}
                    ways.append({"compat": "tapnet", **batch})
                for way in ways:
                    ours = tapvid3d_metrics(**q | way, scaling=scaling, get_trackwise_metrics=tracks)
                    asked, clean = asked + 1, clean + (not way)
                    for name, value in theirs.items():
                        np.testing.assert_array_equal(np.isnan(value), np.isnan(np.ravel(ours[name])))
                        nans += int(np.isnan(value).sum())
                        worst = max(worst, float(np.nanmax(np.abs(value - ours[name]), initial=0)))
    print(f"{asked} questions, {clean} of them without compat, {nans} NaN in both, largest difference {worst:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--compare", type=int, default=0)
    arguments = parser.parse_args()
    public = public_function(arguments.reference)
    record: dict[str, np.ndarray] = {}
    for seed in range(CASES):
        q = question(seed)
        record |= {f"{seed}/{name}": np.asarray(value) for name, value in q.items()}
        record[f"{seed}/clean"] = np.array([is_clean(q, scaling) for scaling in SCALINGS])
        for kind, tracks in (("clip", False), ("tracks", True)):
            scores = [public_scores(public, q, scaling, tracks) for scaling in SCALINGS]
            record["names"] = np.array(list(scores[0]))
            record[f"{seed}/{kind}"] = np.array([[np.ravel(score[name]) for name in record["names"]] for score in scores])
    np.savez_compressed(Path(__file__).with_name("tapvid3d_metrics.npz"), **record)  # pyright: ignore
    if arguments.compare:
        compare(public, arguments.compare)


if __name__ == "__main__":
    main()
