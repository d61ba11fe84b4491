"""3D tracks of a project, as `tapetum track --3d` computes them: how they are stored and sent.

All points of a project are lifted together, since bundle adjustment finds depth from all of them. They are sent as float32,
little endian, in the axes of the first camera (x right, y down, z forward):

    (n, t, 4)    X, Y, Z, visible, of each point as it is now; NaN where the lifting did not know it
    (t, 3, 4)    from the camera of each frame to the first camera; the same everywhere where nobody knows how it moved
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tapetum.core.reading import parse_json
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import Database
from tapetum.desk.web.items import MediaItem
from tapetum.desk.web.tracks import TrackedItem
from tapetum.types import Tracks, Tracks3D

ADJUST, FILE = "adjust", "file"
"""Sources of depth: the tracks themselves by bundle adjustment; depth maps beside the video."""
_ENDINGS = ("-depth.npz", "-depth.npy", "-depth")


@dataclass(frozen=True)
class Space:
    """3D tracks of a video."""

    about: dict[str, Any]
    """depth, metric, moving (whether the poses of the camera are known), intrinsics: for the page."""
    signatures: list[str]
    """Of each point, as in `tracks.TrackStore`."""
    places: Float32[np.ndarray, "n t 4"]
    """X, Y, Z and whether the point is visible and its depth known."""
    poses: Float32[np.ndarray, "t 3 4"]

    def rows_of(self, tracked: TrackedItem) -> bytes:
        """Assemble the data sent for the points of a project."""
        row_of = {name: row for row, name in enumerate(self.signatures)}
        flat, frames = tracked.array(), self.places.shape[1]
        whole = np.full((len(tracked.points), frames, 4), np.nan, np.float32)
        for row, name in enumerate(tracked.signatures):
            if (there := row_of.get(name)) is not None and flat.shape[1] == frames:
                whole[row] = self.places[there]
                whole[row, :, 3] *= flat[row, :, 2]  # it may have been marked as hidden since
        return whole.astype("<f4").tobytes() + self.poses.astype("<f4").tobytes()

    def tracks(self, tracked: TrackedItem, flat: Tracks) -> Tracks3D:
        """Assemble the 3D tracks of a project in the form that `tapetum track --3d` saves; `flat` are its tracks in the image.

        Raises Refused with 409 if points have changed since they were lifted.
        """
        row_of = {name: row for row, name in enumerate(self.signatures)}
        if not set(tracked.signatures) <= row_of.keys() or flat.frames != self.places.shape[1]:
            raise Refused(409, "the points have changed since their 3D tracks were computed; compute depth again")
        places = self.places[[row_of[name] for name in tracked.signatures]].astype(np.float64)
        poses = np.tile(np.eye(4), (flat.frames, 1, 1))
        poses[:, :3] = self.poses
        to_camera = np.linalg.inv(poses)
        xyz = np.einsum("tij,ntj->nti", to_camera[:, :3, :3], places[..., :3]) + to_camera[:, :3, 3]
        return Tracks3D(
            xyz=xyz,
            visible=flat.visible & (places[..., 3] > 0),
            intrinsics=np.array(self.about["intrinsics"]),
            metric=self.about["metric"],
            extrinsics_w2c=to_camera if self.about["moving"] else None,
            **{name: getattr(flat, name) for name in ("xy", "confidence", "queries", "times", "names")},
        )


class SpaceStore:
    """3D tracks in the database, the latest of each video."""

    def __init__(self, database: Database):
        self._database = database

    def read(self, item: str) -> Space | None:
        """Read the 3D tracks of a video; None if there are none."""
        row = self._database.row("SELECT about, signatures, frames, places, poses FROM spaces WHERE item = ?", item)
        if row is None:
            return None
        try:
            about, signatures = parse_json(row["about"]), parse_json(row["signatures"])
            places = np.frombuffer(row["places"], "<f4").reshape(len(signatures), row["frames"], 4)
        except (ValueError, TypeError):
            return None
        if not isinstance(about, dict) or not all(isinstance(name, str) for name in signatures):
            return None
        return Space(about, signatures, places, np.frombuffer(row["poses"], "<f4").reshape(-1, 3, 4))

    def save(self, item: str, space: Space) -> None:
        """Save the 3D tracks of a video, replacing earlier ones."""
        arrays = (np.ascontiguousarray(each, "<f4").tobytes() for each in (space.places, space.poses))
        with self._database.transaction():
            self._database.rows(
                "INSERT OR REPLACE INTO spaces (item, about, signatures, frames, places, poses) VALUES (?, ?, ?, ?, ?, ?)",
                *(item, json.dumps(space.about), json.dumps(space.signatures), space.places.shape[1], *arrays),
            )


def depth_beside(item: MediaItem, folder: Path) -> Path | None:
    """Find depth maps beside a video: clip-depth.npz, clip-depth.npy or a folder clip-depth beside clip.mp4.

    Paths that lead out of the served folder are skipped, and so is a folder with anything but maps: it may hold a network.
    """
    root = folder.resolve()
    for ending in _ENDINGS:
        path = item.path.with_name(f"{item.path.stem}{ending}")
        each = sorted(path.iterdir()) if path.is_dir() else [path]
        maps = all(file.is_file() and file.suffix in (".npy", ".npz", ".png") for file in each)
        if each and maps and all(file.resolve().is_relative_to(root) for file in each):
            return path
    return None
