"""`tapetum.evaluate_tapvid`: the score of a point tracker on TAP-Vid."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from tapetum.verbs.verb import Listener, verb


@dataclass(frozen=True, kw_only=True)
class TapVidOptions:
    """What may be asked of `evaluate_tapvid`."""

    data: Annotated[str, tyro.conf.arg(metavar="FILE.pkl")]
    """Pickle of the benchmark, a folder of pickles, or a quoted pattern such as 'kinetics/*.pkl'."""
    mode: Literal["first", "strided"] = "first"
    """Query each point where it is first visible, or on every fifth frame."""
    model: str = "tapir-nano"
    """Name of weights (see: tapetum weights list), a file of weights, or static (no motion at all)."""
    size: int = 256
    """Width and height at which to track; scores are always taken at 256."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""


@dataclass(frozen=True, kw_only=True)
class TapVidScores:
    """Scores on TAP-Vid; numbers are fractions from 0 to 1, NaN where nothing can be counted."""

    model: str
    """What was scored."""
    average_jaccard: float
    """Mean over videos, as the two that follow."""
    average_pts_within_thresh: float
    occlusion_accuracy: float
    table: dict[str, Any]
    """All that `tapetum.bench.tapvid.evaluate` returns, with a row for each video."""

    def as_json(self) -> dict[str, Any]:
        """Say all of it, with None in place of NaN."""
        from tapetum.bench.tapvid import as_json

        return {"benchmark": "tapvid", "model": self.model, **as_json(self.table)}


@verb(TapVidOptions)
def evaluate_tapvid(options: TapVidOptions, listener: Listener) -> TapVidScores:
    """Score a point tracker on TAP-Vid (DAVIS, RGB-Stacking, Kinetics, RoboTAP).

    Raises BadInput for files that are missing or damaged, a size that is impossible, and an unknown tracker.

    >>> import tempfile
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = tapetum.verbs.scenes.make(folder, n=1, size=64, frames=3)
    ...     scores = tapetum.evaluate_tapvid(data=str(made.tapvid), model="static")
    >>> scores.table["videos"], 0 <= scores.average_jaccard <= 1
    (1, True)
    """
    from tapetum.bench.baselines import load_tracker
    from tapetum.bench.tapvid import evaluate

    tracker = load_tracker(options.model, options.device)
    scored = 0

    def show(name: str, scores: dict[str, float]) -> None:
        nonlocal scored
        scored += 1
        listener.progress(options.data, scored, None)

    listener.progress(options.data, 0, None)
    result = evaluate(tracker, options.data, options.mode, size=options.size, progress=show)
    if any(result["dropped"].values()):
        counts = ", ".join(f"{name} {count}" for name, count in result["dropped"].items() if count)
        listener.note(f"videos in which nothing could be counted, left out of the mean: {counts}")
    return TapVidScores(
        model=options.model,
        average_jaccard=result["average_jaccard"],
        average_pts_within_thresh=result["average_pts_within_thresh"],
        occlusion_accuracy=result["occlusion_accuracy"],
        table=result,
    )
