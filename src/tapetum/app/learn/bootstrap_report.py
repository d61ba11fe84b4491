"""The report of `tapetum bootstrap`: training curves, and a row for each held-out clip, before and after."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapetum.core.provenance import guarding_data
from tapetum.hub.loading import load
from tapetum.report.page import ReportPage, TableColumn, TableRow, write_report
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.systems.tap.bootstrap.samples import cycle_errors, grid, split
from tapetum.video import draw_tracks

if TYPE_CHECKING:
    from torch import device as Device

CLIPS = 48
"""Clips that are shown at most, evenly chosen of those that were left out."""
_SIDE = 6
"""Points along each side of the grid that is tracked."""
_COLUMNS = (
    TableColumn("video"),
    TableColumn("from frame", 0),
    TableColumn("median error before, px", 2),
    TableColumn("median error after, px", 2),
    TableColumn("share back within 4 px before", 2),
    TableColumn("share back within 4 px after", 2),
)


@guarding_data
def write_bootstrap_report(
    report: Path,
    folder: str | Path,
    lines: "list[str]",
    out: Path,
    models: tuple[str | Path, str | Path],
    device: "Device | None",
    progress: Callable[[int, int], None],
) -> Path:
    """Write the report of a finished run in the folder `out`, with `lines` at its head.

    Held-out clips are tracked to their end and back by both `models`, the initial and the resulting one (`cycle_errors`); those
    whose points return farthest from their start come first. Raises BadInput if the page cannot be written.
    """
    footage = FootageDataset(out / "footage")
    holdout = split(footage)[1]
    chosen = [holdout[k] for k in np.unique(np.linspace(0, len(holdout) - 1, CLIPS).round().astype(int))]
    before, after = (load(model, device) for model in models)
    rows = []
    for done, number in enumerate(chosen, 1):
        rows.append(_clip_row(footage, number, before, after))
        progress(done, len(chosen))
    unread = [record for record in footage.records if record["trouble"]]
    rows += [TableRow(cells=(record["video"],), doubt=np.inf, trouble=record["trouble"]) for record in unread]
    page = ReportPage(
        title="Bootstrap of a tracker",
        lines=lines,
        columns=_COLUMNS,
        rows=rows,
        order="Clips that were left out, to their end and back; the largest error after first.",
    )
    return write_report(report, page)


def _clip_row(footage: FootageDataset, number: int, before: Any, after: Any) -> TableRow:
    clip, about = footage[number], footage.clips[number]
    queries = grid(clip.shape[1:], _SIDE)

    def track(model: Any, video: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tracks = model.track(video, points)
        return tracks.xy, tracks.visible

    errors = [cycle_errors(partial(track, each), clip, queries).summary() for each in (before, after)]
    medians, back = ([each[key] for each in errors] for key in ("median_px", "back_within_4px"))
    tracks = after.track(clip, queries)
    return TableRow(
        cells=(about.video, about.begin, medians[0], medians[1], back[0], back[1]),
        doubt=1e6 if np.isnan(medians[1]) else medians[1] + 1 - back[1],
        image=partial(_frames, clip, tracks.xy, tracks.visible),
    )


def _frames(clip: np.ndarray, xy: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The first, middle and last frame side by side, with points and paths of the resulting tracker."""
    drawn = list(draw_tracks(clip, xy, visible, radius=3))
    return np.concatenate([drawn[k] for k in sorted({0, len(drawn) // 2, len(drawn) - 1})], axis=1)
