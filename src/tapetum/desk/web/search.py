"""Search in the folder for moments that match words or a frame, in an index that a job builds."""

import base64
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.reading import check_length
from tapetum.desk.search.index_database import DATABASE
from tapetum.desk.search.media_index import open_media_index
from tapetum.desk.search.results import MomentMatch
from tapetum.desk.search.search import SearchModel, SearchOptions, find_moments
from tapetum.desk.web import job_files
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.index_job import contents_file, index_folder, own_model
from tapetum.desk.web.items import Items, MediaItem
from tapetum.desk.web.jobs import Jobs
from tapetum.desk.web.models import choose, remarks_on, search_models

if TYPE_CHECKING:
    from tapetum.desk.search.media_model import MediaModel

COUNT = 60
"""Moments that are found."""
_LONGEST = 1000


class Search:
    """Search in a folder; the last model used for words stays loaded."""

    def __init__(self, items: Items, jobs: Jobs, folder: Path, device: str | None = None):
        self._items, self._jobs, self._folder, self._device = items, jobs, folder, device
        self._lock = threading.Lock()
        """One search at a time: a model takes memory."""
        self._loaded: MediaModel | None = None

    def models(self) -> list[str]:
        """List the names of models on this machine, starting with that of the folder's own index if there is one."""
        names, own = search_models(), own_model(self._folder)
        return sorted(names, key=lambda name: name != own)

    def find(self, text: str, like: tuple[MediaItem, int] | None, model: str | None) -> dict[str, Any]:
        """Find moments, the best first: item, name, start_s, stop_s, frame, cosine or probability, addresses of thumbnails.

        If the folder has changed since the index was built, a job updates it, and is named beside the results. Raises Refused
        with 409, and the job, if there is no index yet or it is being changed.
        """
        check_length(text, "the text", _LONGEST)
        if not text.strip() and like is None:
            raise Refused(400, "say what to look for: text, or item and frame")
        with self._lock:
            model = choose(model, self.models())
            place, about = index_folder(self._folder, model), {"model": model, "remarks": remarks_on(model)}
            file = contents_file(self._folder, model)
            self._items.look(None)
            contents = self._items.signature()
            renewed = job_files.read(file.parent, file.name) != contents
            busy = self._running(model)
            if busy is not None or not (place / DATABASE).is_file():
                raise Refused(409, "the index of the folder is being made", job=busy or self._begin(model, contents), **about)
            options = SearchOptions(place=place, query=text, count=COUNT, **_example(like))
            try:
                with open_media_index(place) as index:
                    models = SearchModel(index, model, place, self._loaded)
                    result = find_moments(options, index, text, models)
                    self._loaded = models.loaded
            except (sqlite3.Error, TypeError, ValueError, LookupError) as error:
                raise Refused(409, f"{place.name} is damaged ({type(error).__name__}); remove it, and search again") from error
            answer: dict[str, Any] = {**about, "remarks": [*result.remarks(), *about["remarks"][1:]]}
            if renewed:
                answer["job"] = self._begin(model, contents)
        return {**answer, "results": [row for each in result.moments if (row := _as_json(self._items, each)) is not None]}

    def _running(self, model: str) -> dict[str, Any] | None:
        latest = self._jobs.latest("index")
        busy = latest is not None and latest["state"] in ("waiting", "running")
        return latest if latest and busy and self._jobs.settings(latest["id"]).get("model") == model else None

    def _begin(self, model: str, contents: str) -> dict[str, Any]:
        return self._jobs.submit("index", None, model=model, device=self._device, contents=contents)


def _example(like: tuple[MediaItem, int] | None) -> dict[str, Any]:
    """The options for a frame used as the query."""
    if like is None:
        return {}
    item, frame = like
    return {"image": str(item.path)} if item.kind == "image" else {"moment": f"{item.path}@{item.seconds_of(frame)}"}


def _as_json(items: Items, moment: MomentMatch) -> dict[str, Any] | None:
    """Describe a moment for the page; None if its file no longer exists."""
    item = items.by_path(moment.path)
    if item is None or not item.path.is_file():
        return None
    start, stop = moment.start_s, moment.stop_s
    middle = 0.0 if start is None else (start + (start if stop is None else stop)) / 2
    return {
        "item": item.id,
        "name": item.name,
        "start_s": start,
        "stop_s": stop,
        "frame": item.frame_at(middle),
        "cosine": moment.cosine,
        "probability": moment.probability,
        "thumbnails": [f"data:image/jpeg;base64,{base64.b64encode(each).decode()}" for each in moment.thumbnails],
    }
