"""Search for moments that match words or a frame, in the folder's own index, which `tapetum index` makes."""

import base64
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.bench.word_models import is_here
from tapetum.core.reading import check_length
from tapetum.desk.search.index import HIDDEN as INDEX
from tapetum.desk.search.index_database import DATABASE
from tapetum.desk.search.results import MomentMatch
from tapetum.desk.search.search import SearchModel, SearchOptions, find_moments, open_media_index
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.hidden import check_plain
from tapetum.desk.web.items import Items, MediaItem
from tapetum.hub.registry import known

if TYPE_CHECKING:
    from tapetum.desk.search.media_model import MediaModel

COUNT = 60
"""Maximum number of moments."""
_LONGEST = 1000


class Search:
    """Search in a folder; the last model stays loaded."""

    def __init__(self, items: Items, folder: Path):
        self._items, self._folder = items, folder
        self._lock = threading.Lock()
        """One search at a time: a model takes memory."""
        self._loaded: MediaModel | None = None

    def find(self, text: str, like: tuple[MediaItem, int] | None) -> dict[str, Any]:
        """Find moments, the best first: item, name, start_s, stop_s, frame, cosine, addresses of thumbnails.

        Raises Refused with 409 if there is no index, it is damaged, or its model is not known on this machine by name: what a
        folder names is not loaded from elsewhere. Raises BadInput if the index is a link, or the model reads no words.
        """
        check_length(text, "the text", _LONGEST)
        if not text.strip() and like is None:
            raise Refused(400, "say what to look for: text, or item and frame")
        place = check_plain(self._folder / INDEX, below=True)
        if not (place / DATABASE).is_file():
            raise Refused(409, "the folder has no index; make one in the terminal: tapetum index FOLDER")
        options = SearchOptions(place=place, query=text, count=COUNT, **_example(like))
        with self._lock:
            try:
                with open_media_index(place) as index:
                    model = str(index.about.get("reference"))
                    if model not in known() or not is_here(model):
                        raise Refused(409, f"the index was made with {model[:80]!r}, which is not on this machine by name")
                    models = SearchModel(index, model, place, self._loaded)
                    results = find_moments(options, index, models)
                    self._loaded = models.loaded
            except (sqlite3.Error, TypeError, ValueError, LookupError) as error:
                raise Refused(409, f"{place.name} is damaged ({type(error).__name__}); remove it, and index again") from error
        self._items.look(None)
        rows = [_as_json(self._items, moment) for moment in results.moments]
        return {"model": model, "remarks": results.remarks(), "results": [row for row in rows if row is not None]}


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
        "thumbnails": [f"data:image/jpeg;base64,{base64.b64encode(each).decode()}" for each in moment.thumbnails],
    }
