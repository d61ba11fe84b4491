"""`tapetum.evaluate_tapvid`: the score of a point tracker on TAP-Vid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class TapVidOptions:
    """Score a point tracker, or its predictions, on TAP-Vid (DAVIS, RGB-Stacking, Kinetics, RoboTAP).

    Numbers are shares from 0 to 1: average_jaccard, average_pts_within_thresh and occlusion_accuracy.
    """

    data: Annotated[str, tyro.conf.arg(metavar="NAME|FILE.pkl")]
    """davis, rgb-stacking or robotap, which tapetum data tapvid-davis and so on fetch; a pickle of the benchmark, a folder of
    pickles, or a quoted pattern such as 'kinetics/*.pkl'."""
    mode: Literal["first", "strided"] = "first"
    """Query each point where it is first visible, or on every fifth frame."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Name of weights (see: tapetum weights list), a file of weights, FILE.py:CLASS of your own, or static (no motion at all);
    by default tapir-nano."""
    predictions: Annotated[File | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Score these predictions instead of a tracker: .npz, .pkl or a folder of NAME.npz, with tracks and occluded of each video,
    as --save-predictions writes them."""
    save_predictions: Annotated[File | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Write what the tracker predicted: .npz, .pkl, or a new folder with an npz for each video."""
    size: int = 256
    """Width and height at which to track; scores are always taken at 256."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""

    def check(self) -> None:
        """Raise `BadInput` for what cannot be done, before anything is."""
        tracker_alone = {"--model": self.model, "--device": self.device, "--save-predictions": self.save_predictions}
        given = [name for name, value in tracker_alone.items() if value is not None] + (["--size"] if self.size != 256 else [])
        if self.predictions is not None and given:
            raise BadInput(f"{given[0]} is for a tracker, and --predictions is scored without one; give one of the two")


@dataclass(frozen=True, kw_only=True)
class TapVidScores(Result):
    """Scores on TAP-Vid; numbers are fractions from 0 to 1, NaN where nothing can be counted."""

    model: str | None
    """What was scored; None for predictions."""
    average_jaccard: float
    """Mean over videos, as the two that follow."""
    average_pts_within_thresh: float
    occlusion_accuracy: float
    table: dict[str, Any]
    """All that `tapetum.bench.tapvid.evaluate` returns, with a row for each video."""

    def as_json(self) -> dict[str, Any]:
        """Write all of it as JSON values, with None in place of NaN."""
        from tapetum.bench.tapvid import as_json

        return {"benchmark": "tapvid", "model": self.model, **as_json(self.table)}

    def as_text(self) -> str:
        """Make a table with a row for each video."""
        names = "average_jaccard", "average_pts_within_thresh", "occlusion_accuracy"
        width = max(len("mean"), *(len(row["name"]) for row in self.table["per_video"]))
        lines = [f"{'video':{width}}      AJ   <avg     OA"]
        lines += [
            f"{row['name']:{width}}  " + " ".join(f"{row[name]:6.3f}" for name in names)
            for row in [*self.table["per_video"], {"name": "mean", **self.table}]
        ]
        summary = f"{self.table['videos']} videos, {self.table['queries']} queries, mode {self.table['mode']}"
        how = "predictions of a file" if self.model is None else f"tracked in {self.table['seconds']:.1f} s"
        return "\n".join([*lines, "", f"{summary}, {how}"])


@verb(TapVidOptions)
def evaluate_tapvid(options: TapVidOptions, listener: Listener) -> TapVidScores:
    """Score a point tracker, or its predictions, on TAP-Vid (DAVIS, RGB-Stacking, Kinetics, RoboTAP).

    Raises BadInput for files that are missing or damaged, predictions that do not belong to them, a size that is impossible,
    and an unknown tracker.

    >>> import tempfile
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = tapetum.app.scenes.make(folder, n=1, size=64, frames=3)
    ...     scores = tapetum.evaluate_tapvid(data=str(made.tapvid), model="static")
    >>> scores.table["videos"], 0 <= scores.average_jaccard <= 1
    (1, True)
    """
    options.check()
    from tapetum.bench.baselines import load_tracker
    from tapetum.bench.published import located
    from tapetum.bench.tapvid import evaluate
    from tapetum.bench.tapvid_predictions import Prediction, TapVidPredictions, check_form, write_predictions
    from tapetum.core.plugins import reference_label
    from tapetum.tracks.metrics import HEADLINES

    data = located(options.data) or options.data
    if options.save_predictions is not None:
        check_form(Path(options.save_predictions))
    model = None if options.predictions is not None else options.model or "tapir-nano"
    tracker = load_tracker(model, options.device) if model is not None else TapVidPredictions(options.predictions or "")
    predicted: dict[str, Prediction] = {}
    scored = 0

    def show(name: str, scores: dict[str, float]) -> None:
        nonlocal scored
        scored += 1
        listener.progress(options.data, scored, None)

    listener.progress(options.data, 0, None)
    keep = None if options.save_predictions is None else predicted.__setitem__
    result = evaluate(tracker, data, options.mode, size=options.size, progress=show, keep=keep)
    if options.save_predictions is not None:
        try:
            write_predictions(options.save_predictions, predicted)
        except BadInput as error:
            error.add_note("the scores are " + ", ".join(f"{name} {result[name]:.4f}" for name in HEADLINES))
            raise
    if any(result["dropped"].values()):
        counts = ", ".join(f"{name} {count}" for name, count in result["dropped"].items() if count)
        listener.note(f"videos in which nothing could be counted, left out of the mean: {counts}")
    return TapVidScores(
        model=model and reference_label(model),
        average_jaccard=result["average_jaccard"],
        average_pts_within_thresh=result["average_pts_within_thresh"],
        occlusion_accuracy=result["occlusion_accuracy"],
        table=result,
    )
