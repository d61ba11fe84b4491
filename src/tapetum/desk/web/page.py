"""The page's requests to the server: each method of `Page` handles the requests to one address."""

import fcntl
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse

import tapetum
from tapetum.core.errors import BadInput
from tapetum.core.reading import check_length
from tapetum.desk.web.answers import Events, Refused, answer_json
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.edits import Points, Projects
from tapetum.desk.web.exports import DRAWN, PLACE, export, missing_packages, send_once, write_export
from tapetum.desk.web.frames import Frames
from tapetum.desk.web.hidden import make_folder, open_hidden, open_plain
from tapetum.desk.web.items import PAGE, Items, MediaItem, upload
from tapetum.desk.web.job_files import NO_ITEM
from tapetum.desk.web.jobs import FINAL, Jobs
from tapetum.desk.web.look_job import read_look
from tapetum.desk.web.mask_job import read_image, read_masks, write_zip
from tapetum.desk.web.models import Trackers, check_to_fetch, describe_models, describe_weights, label_models
from tapetum.desk.web.search import Search
from tapetum.desk.web.tracks import TrackedItem, TrackStore, find_places
from tapetum.hub.registry import known

STATIC = Path(__file__).with_name("static")
"""The built page."""
_FILES = ("index.html", "app.js", "app.css")
_NO_PAGE = "<!doctype html><title>tapetum</title><p>The page is not built: run npm ci and npm run build in the folder web."
_PATIENCE_S = 0.5
"""Seconds that the state of a folder waits for new files; the page gets the others as they are read."""
_LONGEST = 1000
"""Maximum length of a text that names are compared with."""
_BUSY = {
    "track": "this video is being tracked; wait for that, or cancel it",
    "export": "a film of this video is being drawn; wait for that, or cancel it",
    "masks": "masks are computed through this video; wait for that, or cancel it",
    "fetch": "weights are being fetched; wait for that, or stop it",
}
"""Error if a job of the kind is under way for the same video."""
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


class Page:
    """The state and actions of the server; each method handles the requests to one address."""

    def __init__(
        self,
        folder: Path,
        model: str,
        device: str | None,
        upload_bytes: int,
        jobs_at_once: int,
        words: str | None,
        keep_s: float,
    ):
        self.folder, self.place = folder, open_hidden(folder)
        self.words, self.device, self.upload_bytes = words, device, upload_bytes
        self._only = os.fdopen(open_plain(self.place, "server.lock", flags=os.O_RDWR | os.O_CREAT), "rb")  # as long as it lives
        try:
            fcntl.flock(self._only, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._only.close()
            raise BadInput(f"{folder} is served already; open that page, or end that server first") from None
        try:
            for left in ("exports", "uploads"):
                shutil.rmtree(self.place / left, ignore_errors=True)
            self.database = Database(self.place / FILE)
        except BaseException:
            self._only.close()
            raise
        self.trackers = Trackers(folder, self.place, model)
        self.items, self.projects = Items(self.database, folder, self._items_changed), Projects(self.database)
        self.store, self.frames, self.events = TrackStore(self.database), Frames(), Events()
        self._beginning = threading.Lock()
        self.jobs = Jobs(make_folder(self.place, "jobs"), jobs_at_once, self._job_changed, keep_s)
        self.searching = Search(self.items, folder)

    def end_requests(self) -> None:
        """Answer the requests that wait for frames, and end the event streams, which do not end by themselves."""
        self.events.close()
        self.frames.refuse()

    def close(self) -> None:
        """Release all resources; jobs continue."""
        self.jobs.close()
        self.frames.close()
        self.items.close()
        self.database.close()
        self._only.close()

    def _job_changed(self, job: dict[str, Any]) -> None:
        if job["kind"] == "track" and job["state"] == "done":
            revision = self.jobs.settings(job["id"]).get("revision")
            with suppress(BadInput):  # a full disk; whether points are tracked is seen of their tracks too
                if type(revision) is int and 0 <= revision < 1 << 60:
                    self.projects.note_tracked(job["item"], revision)
        self.events.send(job=job)

    def look_at_jobs(self) -> None:
        """Update the states of the jobs."""
        self.jobs.poll()

    def look_around(self) -> None:
        """Look for files that have come, gone or changed, which the pages then get."""
        if self.events.heard:
            self.items.look()

    def _items_changed(self, changed: list[str], gone: list[str]) -> None:
        for first in range(0, max(len(changed), len(gone), 1) if self.events.heard else 0, PAGE):
            part = slice(first, first + PAGE)
            items = {"changed": self.items.describe(changed[part]), "gone": gone[part], **self.items.counts()}
            self.events.send(items=items)

    @property
    def model(self) -> str:
        """Get what loads the chosen tracker."""
        return self.trackers.reference

    def choose_tracker(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        """Choose what tracks from now on; tracks by others stay saved."""
        self.trackers.choose(content.get("name"))
        self.events.send(tracker=self.trackers.name)
        return self.list_trackers(request)

    def list_trackers(self, request: Request) -> dict[str, Any]:
        """List the trackers, and the chosen one."""
        return {"chosen": self.trackers.name, "trackers": self.trackers.describe()}

    def _item(self, request: Request) -> MediaItem:
        return self.items.get(request.path_params["item"])

    def _tracked(self, request: Request) -> TrackedItem:
        item = self._item(request)
        return TrackedItem(item, self.projects.points(item), self.model, self.store)

    def state(self, request: Request) -> dict[str, Any]:
        """Describe the folder."""
        self.items.look(_PATIENCE_S)
        from tapetum.app.see.settings import CLASSIFIER
        from tapetum.bench.word_models import is_here

        models = {
            "track": self.trackers.name,
            "words": next(iter(label_models(self.words)), None),
            "classify": CLASSIFIER if is_here(CLASSIFIER) else None,
            "answer": CLASSIFIER if is_here(CLASSIFIER) else None,
        }
        return {
            "version": tapetum.__version__,
            "folder": self.folder.name,
            **self.items.page(),
            "models": models,
            "limits": {"upload_bytes": self.upload_bytes},
            "exports": missing_packages(),
        }

    def list_items(self, request: Request) -> dict[str, Any]:
        """List the items that follow one, of those with a text in their names."""
        text = request.query_params.get("text", "")
        check_length(text, "the text", _LONGEST)
        return self.items.page(request.query_params.get("after"), text)

    def item(self, request: Request) -> dict[str, Any]:
        """Describe an item."""
        return self._item(request).as_json()

    def frame(self, request: Request) -> Response:
        """Respond with a frame as JPEG."""
        item, frame, width = self._item(request), request.path_params["number"], request.query_params.get("width")
        if not (frame.isascii() and frame.isdecimal() and len(frame) < 12):
            raise Refused(404, f"{item.name} has no frame {frame[:40]}; it has {item.frames}")
        number = int(frame)
        if width is not None and not (width.isascii() and width.isdecimal() and len(width) < 7):
            raise Refused(400, f"the width is {width[:40]!r}; give a whole number of pixels")
        tag = f'"{item.content}-{number}-{width or "whole"}"'
        if request.headers.get("if-none-match") == tag and number < item.frames:
            return Response(status_code=304, headers={"ETag": tag, **_FOREVER})
        made = self.frames.jpeg(item, number, None if width is None else int(width))
        return Response(made, media_type="image/jpeg", headers={"ETag": tag, **_FOREVER})

    def project(self, request: Request) -> dict[str, Any]:
        """Describe the project of a video."""
        return self._project(self._item(request))

    def _project(self, item: MediaItem) -> dict[str, Any]:
        content, points = self.projects.read(item)
        content["points"] = [point.as_json() for point in points.values()]
        missing = TrackedItem(item, points, self.model, self.store).missing if points else []
        if points and not missing:
            content["tracked_revision"] = content["revision"]
        elif missing and content["tracked_revision"] == content["revision"]:
            content["tracked_revision"] = None  # by another tracker
        return {**content, "job": self.jobs.latest("track", item.id), "masks": self.jobs.latest("masks", item.id)}

    def edit(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        """Edit the points of a video."""
        item = self._item(request)
        revision = self.projects.edit(item, content)
        if item.kind == "video" and (self.model in known() or Path(self.model).is_file()):  # tracker and video are wanted soon
            self.jobs.warm("track", model=self.model, device=self.device, path=str(item.path), content=item.content)
        return self._edited(item, revision)

    def _edited(self, item: MediaItem, revision: int) -> dict[str, Any]:
        self.events.send(project={"item": item.id, "revision": revision})
        return self._project(item)

    def undo(self, request: Request) -> dict[str, Any]:
        """Undo the last edit."""
        return self._step(request, -1)

    def redo(self, request: Request) -> dict[str, Any]:
        """Redo the last undone edit."""
        return self._step(request, 1)

    def _step(self, request: Request, direction: int) -> dict[str, Any]:
        item = self._item(request)
        return self._edited(item, self.projects.step(item, direction))

    def begin(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        """Start a job on the points of a video: track or export."""
        item = self._item(request)
        project, points = self.projects.read(item)
        kind, settings = _read_job(content, item, points)
        return self._submit(kind, item.id, revision=project["revision"], model=self.model, device=self.device, **settings)

    def _submit(self, kind: str, item: str, **settings: Any) -> dict[str, Any]:
        """Start a job, of which one at a time is allowed for an item."""
        with self._beginning:  # of two requests at the same moment one is refused
            latest = self.jobs.latest(kind, item)
            if latest is not None and latest["state"] not in FINAL:
                raise Refused(409, _BUSY[kind], job=latest)
            return self.jobs.submit(kind, item, **settings)

    def begin_masks(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        """Start computing masks of objects, in the one frame that is given, or in all."""
        item, settings = self._item(request), {"device": self.device, **read_masks(content)}
        if settings["frame"] is None:
            return self._submit("masks", item.id, **settings)
        return self.jobs.submit("mask", item.id, **settings)

    def mask_image(self, request: Request) -> Response:
        """Respond with the masks of a frame as PNG."""
        place, params = self.jobs.folder, request.path_params
        return Response(read_image(place, self.jobs.get(params["job"])["id"], params["number"]), media_type="image/png")

    def mask_files(self, request: Request) -> Response:
        """Respond with the masks of a job as a zip."""
        job = self.jobs.get(request.path_params["job"])
        item = self.items.get(job["item"])
        return export(self.place / "exports", lambda folder: write_zip(self.jobs.folder, job["id"], item, folder))

    def look(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        """Start asking a model about a frame."""
        item = self._item(request)
        return self.jobs.submit("look", item.id, **read_look(content, item, self.words))

    def job(self, request: Request) -> dict[str, Any]:
        """Describe a job, with its result if it is done."""
        self.jobs.poll()
        return self.jobs.get(request.path_params["job"], result=True)

    def job_file(self, request: Request) -> Response:
        """Respond with the file that a job made, once."""
        number = request.path_params["job"]
        job = self.jobs.get(number, result=True)
        name, place = str(job.get("result", {}).get("file")), self.jobs.folder / number / PLACE
        try:
            if job["kind"] != "export":
                raise FileNotFoundError(name)
            os.close(open_plain(self.jobs.folder, number, PLACE, name))
        except (OSError, ValueError):
            raise Refused(404, "there is no file of this job; it may have been sent already: export again") from None
        return send_once(place / name)

    def cancel(self, request: Request) -> dict[str, Any]:
        """Cancel a job."""
        return self.jobs.cancel(request.path_params["job"])

    def tracks(self, request: Request) -> Response:
        """Respond with the tracks of a video as numbers."""
        tracked = self._tracked(request)
        ids = ",".join(point.id for point in tracked.points)
        data = tracked.chances().astype("<f4", copy=False).tobytes()
        return Response(data, media_type="application/octet-stream", headers={"X-Points": ids})

    def check(self, request: Request) -> dict[str, Any]:
        """List uncertain places in a video's tracks."""
        return find_places(self._tracked(request))

    def export(self, request: Request) -> Response:
        """Respond with the tracks as a file."""
        tracked, kind = self._tracked(request), request.query_params.get("format", "csv")
        above = request.query_params.get("visible_above")
        try:
            chance = None if above is None else _read_chance(float(above))
        except ValueError:
            raise Refused(400, f"visible_above is {above!r:.40}; give a number from 0 to 1") from None
        if kind in DRAWN:
            raise Refused(400, f"{kind} is drawn by a job; begin one of the kind export, and read its file")
        return export(self.place / "exports", lambda folder: write_export(tracked, kind, folder, chance))

    def search(self, request: Request) -> dict[str, Any]:
        """Find moments in the folder."""
        query, like = request.query_params, None
        if "item" in query:
            item, frame = self.items.get(query["item"]), query.get("frame", "0")
            if not (frame.isascii() and frame.isdecimal() and len(frame) < 12 and int(frame) < item.frames):
                raise Refused(400, f"frame {frame[:40]} is not in {item.name}, which has frames 0 to {item.frames - 1}")
            like = item, int(frame)
        return self.searching.find(query.get("text", ""), like)

    def models(self, request: Request) -> dict[str, Any]:
        """List the models on this machine, by use."""
        return describe_models(self.words)

    def list_weights(self, request: Request) -> dict[str, Any]:
        """List models by name, with size, licence and whether they are on this machine; and the job that fetches one."""
        return {"weights": describe_weights(self.folder), "job": self.jobs.latest("fetch", NO_ITEM)}

    def fetch_weights(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        """Start fetching a model by its name."""
        return self._submit("fetch", NO_ITEM, name=check_to_fetch(content.get("name"), self.folder))

    async def upload(self, request: Request) -> Response:
        """Receive a new file."""
        item = await upload(request, self.folder, self.place / "uploads", self.items, self.upload_bytes)
        return answer_json(item.as_json())

    async def listen(self, request: Request) -> Response:
        """Respond with a stream of changes from now on."""
        return StreamingResponse(self.events.stream(), media_type="text/event-stream")

    def file(self, request: Request) -> Response:
        """Respond with a file of the built page; names are looked up in a table, never used as paths."""
        name = request.path_params.get("name", "index.html")
        if name not in _FILES:
            raise Refused(404, "there is nothing here")
        path = STATIC / name
        if not path.is_file():
            if name == "index.html":
                return HTMLResponse(_NO_PAGE)
            raise Refused(404, "the page is not built")
        return FileResponse(path, headers={"Cache-Control": "no-cache"})


def _read_job(content: dict[str, Any], item: MediaItem, points: Points) -> tuple[str, dict[str, Any]]:
    """Read the kind and settings of a job.

    Raises Refused: 400 for an invalid request, 404 for points that no longer exist, 409 if there are no points.
    """
    kind = content.get("kind")
    if kind not in ("track", "export"):
        raise Refused(400, f"there are no jobs of the kind {str(kind)[:40]!r}; give one of track, export")
    if item.kind != "video":
        raise Refused(400, f"{item.name} is an image; points are tracked through videos")
    if not points:
        raise Refused(409, "there are no points; add some first")
    if kind == "track":
        chosen = content.get("points") or list(points)
        if not isinstance(chosen, list) or not all(isinstance(each, str) for each in chosen):
            raise Refused(400, "points are no list of ids; give ids of points of this video")
        if lacking := [each for each in chosen if each not in points]:
            raise Refused(404, f"{len(lacking)} of these points are no longer there; somebody may have deleted them")
        return kind, {"clicks": [points[each].clicks for each in chosen]}
    format_, above = content.get("format"), content.get("visible_above")
    if not isinstance(format_, str) or format_ not in DRAWN:
        raise Refused(400, f"jobs draw {' and '.join(sorted(DRAWN))}, not {str(format_)[:40]!r}; ask for one of them")
    return kind, {"format": format_, "visible_above": None if above is None else _read_chance(above)}


def _read_chance(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise Refused(400, f"visible_above is {str(value)[:40]}; give a number from 0 to 1")
    return float(value)
