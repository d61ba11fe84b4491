"""CPU time of the metrics of TAPVid-3D, every scaling, beside the public function in the same run.

    OMP_NUM_THREADS=1 python benchmarks/tap3d_metrics.py [--tapnet PATH/OF/CHECKOUT] [--sizes 24x256 150x256 300x1000]

One clip of frames x tracks: random walks with steps of 1 cm, 80 % visible, in a room of 4 x 4 x 4 m; `blob` starts all of
them in a cube of 0.25 m, for neighbourhoods that are full. Without --tapnet (a checkout of google-deepmind/tapnet, or its
tapnet/tapvid3d/evaluation/metrics.py) only ours is timed. The public function gets what it needs so as not to raise: a
batch axis on the queries for per_trajectory, track-wise output for local_neighborhood (ours then gives the same).
Each time is the best of up to 11 calls within two seconds; a call that takes longer is made once.
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tapetum.systems.tapvid3d.metrics import Scaling, tapvid3d_metrics


def clip(frames: int, tracks: int, blob: bool) -> dict[str, Any]:
    """Arguments of both functions."""
    rng = np.random.default_rng(0)
    low, high = ([-0.125, -0.125, 1.875], [0.125, 0.125, 2.125]) if blob else ([-2, -2, 1], [2, 2, 5])
    start = rng.uniform(low, high, (tracks, 1, 3))
    truth = start + rng.normal(0, 0.01, (tracks, frames, 3)).cumsum(1)
    hidden = rng.random((tracks, frames)) < 0.2
    hidden[np.arange(tracks), rng.integers(0, frames, tracks)] = False
    return {
        "gt_occluded": hidden,
        "gt_tracks": truth,
        "pred_occluded": hidden ^ (rng.random((tracks, frames)) < 0.1),
        "pred_tracks": truth * rng.uniform(0.5, 0.55, (tracks, 1, 1)) + rng.normal(0, 0.01, truth.shape),
        "intrinsics_params": np.array([140.0, 140, 128, 128]),
        "query_points": np.stack([(~hidden).argmax(1), np.zeros(tracks), np.zeros(tracks)], -1),
    }


def cpu_time(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what the call gave."""
    best, spent, calls, result = float("inf"), 0.0, 0, None
    while calls < 11 and spent < 2:
        start = time.process_time()
        result = call()
        seconds = time.process_time() - start
        best, spent, calls = min(best, seconds), spent + seconds, calls + 1
    return best * 1000, result


def public_function(path: Path) -> Callable[..., Any]:
    if path.is_dir():
        path = path / "tapnet" / "tapvid3d" / "evaluation" / "metrics.py"
    spec = importlib.util.spec_from_file_location("public_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.compute_tapvid3d_metrics


def row(arguments: dict[str, Any], scaling: Scaling, public: Callable[..., Any] | None) -> str:
    trackwise = scaling == "local_neighborhood"
    ours, scores = cpu_time(lambda: tapvid3d_metrics(**arguments, scaling=scaling, get_trackwise_metrics=trackwise))
    if public is None:
        return f"{ours:9.1f}"
    batch = {"query_points": arguments["query_points"][None]} if scaling == "per_trajectory" else {}
    theirs, wanted = cpu_time(lambda: public(**arguments | batch, scaling=scaling, get_trackwise_metrics=trackwise))
    worst = max(float(np.max(np.abs(scores[name] - wanted[name]))) for name in wanted)
    return f"{ours:9.1f}{theirs:11.1f}{theirs / ours:8.1f}{worst:12.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tapnet", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["24x256", "150x256", "300x1000"])
    args = parser.parse_args()
    public = public_function(args.tapnet) if args.tapnet else None
    warnings.simplefilter("ignore")
    print(f"CPU milliseconds a clip, numpy {np.__version__}")
    print(
        f"{'frames x tracks':<18}{'scaling':<26}{'ours':>9}"
        + (f"{'public':>11}{'ratio':>8}{'difference':>12}" if public else "")
    )
    for size in args.sizes:
        frames, tracks = (int(part) for part in size.split("x"))
        for scaling in get_args(Scaling):
            print(f"{size:<18}{scaling:<26}{row(clip(frames, tracks, False), scaling, public)}", flush=True)
        dense = clip(frames, tracks, True)
        print(f"{size:<18}{'local_neighborhood, blob':<26}{row(dense, 'local_neighborhood', public)}", flush=True)


if __name__ == "__main__":
    main()
