"""`tapetum.evaluate_tapvid3d`: evaluates predictions, or a 3D tracker, in metres."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import write_text


@dataclass(frozen=True, kw_only=True)
class TapVid3DOptions:
    """Score predicted 3D tracks, or a 3D tracker, on TAPVid-3D or on clips in its format.

    Numbers are shares from 0 to 1: 3D-AJ, APD and OA, for each source and averaged over sources. A prediction that is missing
    or cannot be read counts as 0.
    """

    gt: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Clips: a folder with adt, drivetrack and pstudio in it, or a folder of npz files."""
    predictions: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Predictions under the same names, each an npz with tracks_XYZ (t, n, 3) and visibility (t, n)."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Run a tracker in place of reading predictions: static (no motion at all), or a 2D tracker lifted by --depth."""
    depth: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """Depth for the tracker: true (NAME.depth.npz beside each clip), or what tapetum track --3d --depth takes."""
    split: Literal["minival", "full", "all"] | None = None
    """Clips of the official lists; by default all that are there."""
    scaling: tuple[
        Literal["median", "mean", "median_on_queries", "per_trajectory", "local_neighborhood", "reproduce_2d", "none"], ...
    ] = ("median",)
    """How predictions are rescaled to the truth before they are measured; one or more."""
    workers: int = 1
    """Processes that clips are shared out to."""
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Write the result here as JSON, and finished clips beside it, as FILE.clips.jsonl: the same command does only the others,
    and those that failed."""


@dataclass(frozen=True, kw_only=True)
class TapVid3DScores(Result):
    """Scores on TAPVid-3D; numbers are fractions from 0 to 1, NaN where nothing can be counted."""

    model: str | None
    """The tracker that was scored; None where predictions were read."""
    depth: str | None
    average: dict[str, dict[str, float]]
    """For each scaling the means over sources of the thirteen numbers: average_jaccard (3D-AJ) and the others."""
    table: dict[str, Any]
    """All that `tapetum.bench.tapvid3d.evaluate` returns, with a row for each clip."""

    def as_json(self) -> dict[str, Any]:
        from tapetum.bench.tapvid import as_json

        return {"benchmark": "tapvid3d", "model": self.model, "depth": self.depth, **as_json(self.table)}

    def as_text(self) -> str:
        headlines = "average_jaccard", "average_pts_within_thresh", "occlusion_accuracy"
        lines = []
        for scaling, table in self.table["scalings"].items():
            sources = table["sources"]
            rows = [*sources.items(), *([("average", table["average"])] if len(sources) > 1 else [])]
            lines += [f"{'scaling ' + scaling:28} 3D-AJ    APD     OA   clips  failed"]
            for source, numbers in rows:
                scores = " ".join(f"{numbers[name]:6.3f}" for name in headlines)
                counts = f"{numbers['clips']:7} {numbers['failed']:7}" if "clips" in numbers else ""
                lines.append(f"{source:27} {scores} {counts}".rstrip())
            lines.append("")
        split = f"split {self.table['split']}" if self.table["split"] else "all that were there"
        return "\n".join([*lines, f"{self.table['clips']} clips, {split}, worked on for {self.table['seconds']:.1f} s"])


@verb(TapVid3DOptions, data=("gt", "predictions"))
def evaluate_tapvid3d(options: TapVid3DOptions, listener: Listener) -> TapVid3DScores:
    """Score predicted 3D tracks, or a 3D tracker, on TAPVid-3D or on clips in its format.

    A prediction that is missing or cannot be read counts as 0. Raises BadInput for missing or damaged ground truth, and for
    conflicting options.
    """
    if (options.predictions is None) == (options.model is None):
        raise BadInput("give --predictions DIR or --model NAME (a tracker that makes them), one of the two")
    if options.depth is not None and options.model is None:
        raise BadInput("--depth is for the tracker of --model; predictions are scored as they are")
    if options.model not in (None, "static") and options.depth is None:
        raise BadInput(
            f"{options.model} tracks in the image, and needs depth to lift its points by; give --depth adjust, --depth true "
            "(NAME.depth.npz beside each clip), a file of depth maps or a network's name"
        )
    from tapetum import __version__
    from tapetum.bench.baselines import load_tracker3d
    from tapetum.bench.tapvid3d import evaluate
    from tapetum.hub.registry import weights_fingerprint

    true_depth = options.depth == "true"
    load = None if options.model is None else partial(load_tracker3d, options.model, None if true_depth else options.depth)
    out = None if options.out is None else Path(options.out)
    made_by = {"model": options.model, "weights": weights_fingerprint(options.model or ""), "depth": options.depth}
    listener.progress(str(options.gt), 0, None)
    result = evaluate(
        options.gt,
        options.predictions,
        load=load,
        true_depth=true_depth,
        split=options.split,
        scalings=options.scaling,
        workers=options.workers,
        rows=None if out is None else out.with_name(f"{out.stem}.clips.jsonl"),
        settings={**made_by, "version": __version__},
        note=listener.note,
        progress=lambda row, done, every: listener.progress(str(options.gt), done, every),
    )
    if len(result["failed"]) == result["clips"]:
        first = result["failed"][0]
        why = f"{first['source']}/{first['name']}: {first['reason']}"
        raise BadInput(f"none of {result['clips']} clips has a prediction that can be scored; the first is {why}")
    averages = {scaling: table["average"] for scaling, table in result["scalings"].items()}
    scores = TapVid3DScores(model=options.model, depth=options.depth, average=averages, table=result)
    if out is not None:
        write_text(out, json.dumps(scores.as_json(), indent=2, allow_nan=False) + "\n")
    for failed in result["failed"]:
        listener.note(f"{failed['source']}/{failed['name']} counts as 0: {failed['reason']}")
    if result["failed"]:
        again = "" if out is None else "; the same command tries these again"
        listener.note(
            f"{len(result['failed'])} of {result['clips']} clips without a prediction that can be scored count as 0{again}"
        )
    if result["not_finite"]:
        listener.note(f"{result['not_finite']} clips have predicted positions that are NaN or infinite, which count as wrong")
    for scaling, table in result["scalings"].items():
        if table["dropped"]:
            listener.note(f"{scaling}: clips in which nothing could be counted, left out of the mean: {table['dropped']}")
    return scores
