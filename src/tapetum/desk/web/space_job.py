"""3D tracks of a project, lifted from its image tracks as in `tapetum track --3d`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapetum.app.track.point_tasks import Cut, CutSettings, NewPoints, cut
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.desk.web.database import FILE as DATABASE
from tapetum.desk.web.database import Database
from tapetum.desk.web.hidden import HIDDEN
from tapetum.desk.web.items import Items
from tapetum.desk.web.projects import Projects
from tapetum.desk.web.space import FILE, Space, SpaceStore, depth_beside
from tapetum.desk.web.track_job import features_file, open_features
from tapetum.desk.web.tracks import TrackedItem, TrackStore
from tapetum.tracks.points import PointRequest
from tapetum.video import open_video

if TYPE_CHECKING:
    from tapetum.tracks.points import Point
    from tapetum.types import Tracks, Tracks3D


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Lift the tracks of a project into space, and save the result.

    Raises Refused if points are not tracked, BadInput and MissingExtra as `app.space.Lifting`: bundle adjustment needs a moving
    camera.
    """
    from tapetum.systems.tapvid3d.lifting import Lifting

    place, settings = folder / HIDDEN, job["settings"]
    database = Database(place / DATABASE)
    try:
        item = Items(database, folder).get(job["item"])
        tracked = TrackedItem(item, Projects(database).points(item), settings["model"], TrackStore(database))
        tracks = tracked.tracks()
        source = depth_beside(item, folder) if settings["depth"] == FILE else None
        if settings["depth"] == FILE and source is None:
            raise BadInput(f"there are no depth maps beside {item.name}; put {item.path.stem}-depth.npz there")
        lifting = Lifting(
            None if source is None else str(source), None, settings["model"] == "static", settings["device"], listener
        )
        with open_video(item.path) as video:
            support = lifting.support_points(video)
            if support:
                part = cut(video, CutSettings())
                more = _track_support(part, support, settings, features_file(place, item.id), listener)
                lifting.support = more
            space = lifting.lift(tracks, video)
        about = {
            "depth": source.name if source is not None else "static" if lifting.static else "adjust",
            "metric": space.metric,
            "moving": space.extrinsics_w2c is not None,
            "intrinsics": [float(number) for number in space.intrinsics],
            "notes": list(getattr(listener, "notes", ())),
        }
        SpaceStore(database).save(item.id, Space(about, tracked.signatures, *in_first_camera(space)))
        return {"result": {**about, "points": space.points, "frames": space.frames}}
    finally:
        database.close()


def in_first_camera(space: "Tracks3D") -> tuple[np.ndarray, np.ndarray]:
    """Compute points (n, t, 4), X, Y, Z in the axes of the first camera and visible, and poses (t, 3, 4) of all cameras."""
    poses = np.tile(np.eye(4), (space.frames, 1, 1))
    if space.extrinsics_w2c is not None:
        poses = space.extrinsics_w2c[0] @ np.linalg.inv(space.extrinsics_w2c)
    xyz = np.einsum("tij,ntj->nti", poses[:, :3, :3], space.xyz) + poses[:, :3, 3]
    return np.concatenate([xyz, space.visible[..., None]], axis=2, dtype=np.float32), poses[:, :3]


def _track_support(part: Cut, support: "list[Point]", settings: dict[str, Any], features: Path, listener: Listener) -> "Tracks":
    """Track the points used by bundle adjustment to find the camera."""
    from tapetum.bench.baselines import load_tracker

    listener.status("loading the model")
    tracker = load_tracker(settings["model"], settings["device"])
    with open_features(features, tracker) as file:
        tracks = NewPoints(part, PointRequest(support)).track(tracker, [], listener.counting("tracking"), file)
    return replace(tracks, names=None, clicked=None)
