"""Search in the folder: moments that words describe, or that are like a frame, in an index that a job makes."""

import threading
from pathlib import Path
from typing import Any

from tapetum.app.embedding_table import read_table
from tapetum.app.search import SearchOptions, search
from tapetum.app.search_results import Searched
from tapetum.app.verb import Listener
from tapetum.app.web import job_files
from tapetum.app.web.answers import Refused
from tapetum.app.web.index_job import CONTENTS, MODEL, TABLE, contents_of
from tapetum.app.web.items import Item, Items
from tapetum.app.web.jobs import Jobs
from tapetum.core.reading import check_length

COUNT = 60
"""Moments that are found."""
_LONGEST = 1000

_one_at_a_time = threading.Lock()
"""The model of words takes memory."""


def find_moments(items: Items, jobs: Jobs, place: Path, text: str = "", like: tuple[Item, int] | None = None) -> dict[str, Any]:
    """Find moments, the best first: item, start_s, stop_s, frame, cosine.

    Where the folder has changed since the index was made, a job makes it anew, and is named beside the results. Raises Refused
    with 409, and the job, where there is no index yet.
    """
    check_length(text, "the text", _LONGEST)
    if not text.strip() and like is None:
        raise Refused(400, "say what to look for: text, or item and frame")
    table, answer = place / TABLE, dict[str, Any](model=MODEL)
    if job_files.read(place / CONTENTS) != contents_of(items.look()):
        answer["job"] = _indexing(jobs)
    if not table.is_file():
        raise Refused(409, "the folder has no index yet; it is being made", **answer)
    if like is None:
        with _one_at_a_time:
            results = search.run(SearchOptions(words=text, index=table, count=COUNT), Listener())
        assert isinstance(results, Searched)
        moments = [(each.path, each.start_s, each.stop_s, each.score or 0.0) for each in results.moments]
    else:
        moments = _like(table, *like)
    return {**answer, "results": [row for moment in moments if (row := _as_json(items, *moment)) is not None]}


def _indexing(jobs: Jobs) -> dict[str, Any]:
    """The job that makes the index, a new one if none does; one that has failed is not begun again by a search."""
    latest = jobs.latest("index")
    if latest is not None and latest["state"] in ("waiting", "running"):
        return latest
    return jobs.submit("index", None)


def _like(table: Path, item: Item, frame: int) -> list[tuple[str, float | None, float | None, float]]:
    """Pieces that are like the one that a frame is in."""
    import numpy as np

    rows = read_table(table)
    at = frame / item.fps if item.kind == "video" else np.nan
    own = rows["path"] == str(item.path)
    if item.kind == "video":
        starts, stops = rows["start_s"].astype(float), rows["stop_s"].astype(float)
        own &= (starts <= at) & (at <= stops)
    if not own.any():
        raise Refused(409, f"the index has nothing of {item.name}; it is being made anew")
    vectors = rows["embedding"]
    cosines = vectors @ vectors[int(own.argmax())]
    best = np.argsort(-cosines, kind="stable")[:COUNT]
    return [(str(rows["path"][k]), _seconds(rows["start_s"][k]), _seconds(rows["stop_s"][k]), float(cosines[k])) for k in best]


def _seconds(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _as_json(items: Items, path: str, start: float | None, stop: float | None, cosine: float | None) -> dict[str, Any] | None:
    item = items.by_path(path)
    if item is None:
        return None
    middle = 0.0 if start is None else (start + (start if stop is None else stop)) / 2
    frame = min(max(int(middle * item.fps), 0), max(item.frames - 1, 0))
    return {"item": item.id, "start_s": start, "stop_s": stop, "frame": frame, "cosine": cosine}
