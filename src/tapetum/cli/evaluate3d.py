"""`tapetum eval tapvid3d`: the score of predictions, or of a 3D tracker, in metres."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.cli.output import note, print_json, progress
from tapetum.errors import BadInput

Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
_HEADLINES = "average_jaccard", "average_pts_within_thresh", "occlusion_accuracy"


@dataclass(frozen=True, kw_only=True)
class TapVid3D:
    """Score predicted 3D tracks, or a 3D tracker, on TAPVid-3D or on clips in its format.

    Numbers are shares from 0 to 1: 3D-AJ, APD and OA, for each source and averaged over sources. A prediction that is missing
    or cannot be read counts as 0.
    """

    gt: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Clips: a folder with adt, drivetrack and pstudio in it, or a folder of npz files."""
    pred: Folder = None
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
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Write the result here as JSON, and finished clips beside it, as FILE.clips.jsonl: the same command goes on with those."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as JSON, with a row for each clip."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if (self.pred is None) == (self.model is None):
            raise BadInput("give --pred DIR (predictions) or --model NAME (a tracker that makes them), one of the two")
        if self.depth is not None and self.model is None:
            raise BadInput("--depth is for the tracker of --model; predictions are scored as they are")

        import json
        from functools import partial

        from tapetum.bench.baselines import load_tracker3d
        from tapetum.bench.tapvid import as_json
        from tapetum.bench.tapvid3d import evaluate
        from tapetum.files import whole_file

        true_depth = self.depth == "true"
        source = None if true_depth else self.depth
        with progress() as bars:
            task = bars.add_task(str(self.gt), total=None)

            def show(row: dict[str, Any], done: int, every: int) -> None:
                score = row["scores"][self.scaling[0]]["average_jaccard"]
                bars.update(task, completed=done, total=every, description=f"{row['name']} {score:.3f}")

            result = evaluate(
                self.gt,
                self.pred,
                load=None if self.model is None else partial(load_tracker3d, self.model, source),
                true_depth=true_depth,
                split=self.split,
                scalings=self.scaling,
                workers=self.workers,
                rows=None if self.out is None else self.out.with_name(f"{self.out.stem}.clips.jsonl"),
                settings={"model": self.model, "depth": self.depth},
                progress=show,
            )
        content = {"benchmark": "tapvid3d", "model": self.model, "depth": self.depth, **as_json(result)}
        if self.out is not None:
            with whole_file(self.out) as temporary:
                temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        _notes(result)
        if self.json:
            print_json(content)
        else:
            print(_table(result))


def _notes(result: dict[str, Any]) -> None:
    for failed in result["failed"]:
        note(f"{failed['source']}/{failed['name']} counts as 0: {failed['reason']}")
    if result["failed"]:
        note(f"{len(result['failed'])} of {result['clips']} clips without a prediction that can be scored count as 0")
    if result["not_finite"]:
        note(f"{result['not_finite']} clips have predicted positions that are NaN or infinite, which count as wrong")
    for scaling, table in result["scalings"].items():
        if table["dropped"]:
            note(f"{scaling}: clips in which nothing could be counted, left out of the mean: {table['dropped']}")


def _table(result: dict[str, Any]) -> str:
    lines = []
    for scaling, table in result["scalings"].items():
        sources = table["sources"]
        rows = [*sources.items(), *([("average", table["average"])] if len(sources) > 1 else [])]
        lines += [f"{'scaling ' + scaling:28} 3D-AJ    APD     OA   clips  failed"]
        for source, numbers in rows:
            scores = " ".join(f"{numbers[name]:6.3f}" for name in _HEADLINES)
            counts = f"{numbers['clips']:7} {numbers['failed']:7}" if "clips" in numbers else ""
            lines.append(f"{source:27} {scores} {counts}".rstrip())
        lines.append("")
    split = f"split {result['split']}" if result["split"] else "all that were there"
    return "\n".join([*lines, f"{result['clips']} clips, {split}, worked on for {result['seconds']:.1f} s"])
