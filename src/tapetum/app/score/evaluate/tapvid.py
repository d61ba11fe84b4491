"""`tapetum.evaluate_tapvid`: evaluates a point tracker on TAP-Vid."""

from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Device
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
    beside: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE|DIR")] = None
    """Score another tracker on the same videos, or predictions (.npz, .pkl or a folder), and print the difference of the two
    with its confidence interval."""
    redetection: Literal["no", "published", "strict"] = "no"
    """Score points that come back too (AJ_RD of TAPNext++): as published, where a distance of exactly the threshold is near
    enough and a point's first appearance counts; or strict, without both."""
    size: int = 256
    """Width and height at which to track; scores are always taken at 256."""
    device: Device = "auto"

    def check(self) -> None:
        tracker_alone = "model", "save_predictions", "size", "device"
        given = [name for name in tracker_alone if getattr(self, name) != type(self).__dataclass_fields__[name].default]
        if self.predictions is not None and given:
            raise BadInput(
                f"--{given[0].replace('_', '-')} is for a tracker, and --predictions is scored without one; give one of the two"
            )


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
    beside: "TapVidScores | None" = None
    differences: dict[str, Any] | None = None
    """What `tapetum.bench.tapvid.compare` returns: the other less this one."""

    def as_json(self) -> dict[str, Any]:
        from tapetum.bench.tapvid import as_json

        content = {"benchmark": "tapvid", "model": self.model, **as_json(self.table)}
        if self.beside is not None:
            content |= {"beside": self.beside.as_json(), "differences": as_json(self.differences or {})}
        return content

    def as_text(self) -> str:
        columns = {"average_jaccard": "AJ", "average_pts_within_thresh": "<avg", "occlusion_accuracy": "OA", "aj_rd": "AJ_RD"}
        names = {name: short for name, short in columns.items() if name in self.table}
        width = max(len("95 % at most"), *(len(row["name"]) for row in self.table["per_video"]))
        lines = [f"{'video':{width}}  " + " ".join(f"{short:>6}" for short in names.values())]
        rows, nothing = [*self.table["per_video"], {"name": "mean", **self.table}], (float("nan"), float("nan"))
        for place, what in enumerate(("95 % at least", "95 % at most")):
            rows.append({"name": what} | {name: self.table["intervals"].get(name, nothing)[place] for name in names})
        lines += [f"{row['name']:{width}}  " + " ".join(f"{row[name]:6.3f}" for name in names) for row in rows]
        summary = f"{self.table['videos']} videos, {self.table['queries']} queries, mode {self.table['mode']}"
        how = "predictions of a file" if self.model is None else f"tracked in {self.table['seconds']:.1f} s"
        lines += ["", f"{summary}, {how}"]
        if self.beside is not None:
            lines += ["", f"beside: {self.beside.model or 'predictions of a file'}"]
            for name, change in (self.differences or {}).items():
                low, high = change["interval"]
                mean = f"{self.table[name]:.3f} -> {self.beside.table[name]:.3f}"
                lines.append(f"{names[name]:5}  {mean}, {change['difference']:+.3f} ({low:+.3f} to {high:+.3f})")
        return "\n".join(lines)


@verb(TapVidOptions, data=("data", "predictions", "beside"))
def evaluate_tapvid(options: TapVidOptions, listener: Listener) -> TapVidScores:
    """Score a point tracker, or its predictions, on TAP-Vid (DAVIS, RGB-Stacking, Kinetics, RoboTAP).

    Raises BadInput for missing or damaged files, predictions that do not belong to them, an impossible size, and an unknown
    tracker.
    """
    options.check()
    from tapetum.bench.tapvid import check_form, compare

    if options.save_predictions is not None:
        check_form(Path(options.save_predictions))
    model = None if options.predictions is not None else options.model or "tapir-nano"
    scores = _scores(options, model, options.predictions, options.save_predictions, listener)
    if options.beside is None:
        return scores
    path = Path(options.beside)
    predicted = path if path.suffix in (".npz", ".pkl") or path.is_dir() else None
    other = _scores(options, options.beside if predicted is None else None, predicted, None, listener)
    return replace(scores, beside=other, differences=compare(scores.table, other.table))


def _scores(
    options: TapVidOptions, model: str | None, predictions: File | None, save: File | None, listener: Listener
) -> TapVidScores:
    """Score one tracker, or predictions if there is no `model`, and `save` its predictions."""
    from tapetum.bench.baselines import load_tracker
    from tapetum.bench.published import located
    from tapetum.bench.tapvid import Prediction, TapVidPredictions, evaluate, write_predictions
    from tapetum.core.plugins import reference_label
    from tapetum.tracks.metrics import HEADLINES, PUBLISHED, STRICT

    data = located(options.data) or options.data
    tracker = load_tracker(model, options.device) if model is not None else TapVidPredictions(predictions or "")
    predicted: dict[str, Prediction] = {}
    scored = count(1)
    listener.progress(options.data, 0, None)
    result = evaluate(
        tracker,
        data,
        options.mode,
        size=options.size,
        redetection={"no": None, "published": PUBLISHED, "strict": STRICT}[options.redetection],
        progress=lambda name, scores: listener.progress(options.data, next(scored), None),
        keep=None if save is None else predicted.__setitem__,
    )
    if save is not None:
        try:
            write_predictions(save, predicted)
        except BadInput as error:
            error.add_note("the scores are " + ", ".join(f"{name} {result[name]:.4f}" for name in HEADLINES))
            raise
    if any(result["dropped"].values()):
        counts = ", ".join(f"{name} {dropped}" for name, dropped in result["dropped"].items() if dropped)
        listener.note(f"videos in which nothing could be counted, left out of the mean: {counts}")
    return TapVidScores(model=model and reference_label(model), **{name: result[name] for name in HEADLINES}, table=result)
