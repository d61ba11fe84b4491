"""Records the answers of the public TAP-Vid evaluation beside random questions.

    python tests/golden/make_metrics_golden.py PATH/OF/evaluation_datasets.py [--compare 2000]

PATH is the file of google-deepmind/tapnet; only three functions of numpy are taken from it, so that none of its
dependencies is needed. Writes tapvid_metrics.npz here; with --compare it also runs that many fresh questions through
both implementations and prints the largest difference.
"""

import argparse
import ast
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

FUNCTIONS = ("compute_tapvid_metrics", "sample_queries_first", "sample_queries_strided")


def public_functions(path: Path) -> dict[str, Callable]:
    """The three functions of the public file, compiled alone."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS]
    scope: dict[str, Any] = {"np": np, "Mapping": Mapping, "Optional": Optional, "Tuple": tuple, "Union": Union}
    exec(compile(tree, str(path), "exec"), scope)
    return {name: scope[name] for name in FUNCTIONS}


def question(seed: int) -> dict[str, np.ndarray]:
    """Random truth and prediction, with exact thresholds, NaN, points never seen and queries on the last frame."""
    rng = np.random.default_rng(seed)
    n, t = rng.integers(1, 5), rng.integers(1, 12)
    real = [np.float32, np.float64][seed % 2]
    points = rng.uniform(0, 1, (n, t, 2)).astype(real)
    error = rng.choice([0.0, 0.3, 1, 2, 4, 8, 16, 3], (n, t, 2)) * rng.choice([-1, 1], (n, t, 2))
    error[..., 1] *= rng.random((n, t)) < 0.5
    predicted = (points * 256 + error).astype(real)
    predicted[rng.random((n, t)) < 0.05] = np.nan
    occluded = rng.random((n, t)) < rng.choice([0.0, 0.3, 0.9])
    predicted_occluded = np.where(rng.random((n, t)) < 0.2, ~occluded, occluded) | (seed % 7 == 0)
    frames = rng.integers(0, t, n) + rng.choice([0.0, 0.0, 0.5, -0.25], n)
    return {
        "points": points,
        "occluded": occluded,
        "predicted": predicted,
        "predicted_occluded": predicted_occluded,
        "queries": np.stack([np.clip(frames, 0, t - 1), *np.moveaxis(points[:, 0] * 256, -1, 0)], axis=-1),
    }


def public_scores(functions: dict[str, Callable], q: dict[str, np.ndarray], mode: str) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = functions["compute_tapvid_metrics"](
            q["queries"][None][..., [0, 2, 1]],
            q["occluded"][None],
            (q["points"] * 256)[None],
            q["predicted_occluded"][None],
            q["predicted"][None],
            mode,
        )
    return {name: float(value[0]) for name, value in scores.items()}


def public_sampling(functions: dict[str, Callable], q: dict[str, np.ndarray], mode: str) -> dict[str, np.ndarray]:
    t = q["occluded"].shape[1]
    sampled = functions[f"sample_queries_{mode}"](q["occluded"], q["points"] * np.array([256, 256]), np.zeros((t, 1)))
    return {
        "queries": sampled["query_points"][0][:, [0, 2, 1]],
        "tracks": sampled["target_points"][0],
        "occluded": sampled["occluded"][0],
    }


def compare(functions: dict[str, Callable], count: int) -> None:
    from tapetum.bench.tapvid import sample_queries
    from tapetum.tracks.metrics import tapvid_metrics

    worst, nans = 0.0, 0
    for seed in range(1000, 1000 + count):
        q = question(seed)
        for mode in ("first", "strided"):
            public = public_scores(functions, q, mode)
            ours = tapvid_metrics(q["queries"], q["occluded"], q["points"] * 256, q["predicted_occluded"], q["predicted"], mode)
            for name, value in public.items():
                assert np.isnan(value) == np.isnan(ours[name]), (seed, mode, name)
                nans += np.isnan(value)
                worst = max(worst, 0.0 if np.isnan(value) else abs(value - ours[name]))
            if (~q["occluded"]).any():
                sampled = sample_queries(q["points"] * np.array([256, 256]), q["occluded"], mode)
                for name, value in public_sampling(functions, q, mode).items():
                    np.testing.assert_array_equal(getattr(sampled, name), value)
    print(f"{2 * count} questions, {nans} NaN in both, largest difference {worst:.1e}; sampled queries equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--compare", type=int, default=0)
    arguments = parser.parse_args()
    functions = public_functions(arguments.reference)
    record: dict[str, np.ndarray] = {}
    for seed in range(16):
        q = question(seed)
        record |= {f"{seed}/{name}": value for name, value in q.items()}
        for mode in ("first", "strided"):
            scores = public_scores(functions, q, mode)
            record["names"] = np.array(list(scores))
            record[f"{seed}/{mode}/scores"] = np.array(list(scores.values()))
            if (~q["occluded"]).any():
                sampled = public_sampling(functions, q, mode)
                record |= {f"{seed}/{mode}/sampled/{name}": value for name, value in sampled.items()}
    np.savez_compressed(Path(__file__).with_name("tapvid_metrics.npz"), **record)  # pyright: ignore
    if arguments.compare:
        compare(functions, arguments.compare)


if __name__ == "__main__":
    main()
