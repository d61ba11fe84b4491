"""The mask of an object through a video: how it is stored, and written for other programs as `tapetum segment --click` does."""

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tapetum.core.files import plain_name
from tapetum.core.reading import parse_json
from tapetum.desk.web.database import Database
from tapetum.desk.web.items import MediaItem

MASKS = "masks-coco", "masks-png", "masks-davis"
"""Formats of masks."""


def signature(model: str, content: str, prompts: list[dict[str, Any]]) -> str:
    """Compute the key of masks: what loads the tracker, content of the video, prompts."""
    return sha256(json.dumps([model, content, prompts], sort_keys=True).encode()).hexdigest()[:32]


class MaskStore:
    """Masks in the database, the latest of each video."""

    def __init__(self, database: Database):
        self._database = database

    def read(self, item: str) -> tuple[str, list[str | None]] | None:
        """Read the masks of a video: the signature of what they were computed from, empty while that goes on, and COCO's
        run-length text of each frame, None where it is not known yet. None if there are no masks."""
        row = self._database.row("SELECT signature, runs FROM masks WHERE item = ?", item)
        try:
            runs = [] if row is None else parse_json(row["runs"])
        except ValueError:
            return None
        whole = isinstance(runs, list) and runs and all(each is None or isinstance(each, str) for each in runs)
        return (row["signature"], runs) if whole and row is not None else None

    def save(self, item: str, signature: str, runs: Sequence[str | None]) -> None:
        """Save the masks of a video, replacing earlier ones."""
        values = item, signature, json.dumps(list(runs))
        self._database.rows("INSERT OR REPLACE INTO masks (item, signature, runs) VALUES (?, ?, ?)", *values)

    def remove(self, item: str) -> None:
        """Remove the masks of a video."""
        self._database.rows("DELETE FROM masks WHERE item = ?", item)


def write_masks(item: MediaItem, runs: Sequence[str | None], kind: str, folder: Path) -> Path:
    """Write whole masks into a folder, in a format of `MASKS`; PNGs lie in a zip.

    Raises BadInput for runs that are not of the video's size.
    """
    from tapetum.tracks.masks import ClipMasks
    from tapetum.tracks.masks.files import write_coco, write_davis, write_pngs
    from tapetum.video import open_video

    with open_video(item.path) as video:  # what the database says of its size may be wrong
        width, height = video.width, video.height
    coded = tuple({"size": [height, width], "counts": each} for each in runs)
    masks, name = ClipMasks(width, height, coded, ()), plain_name(item.path)
    if kind == "masks-coco":
        return write_coco(folder / f"{name}-masks.json", {1: masks})
    images = folder / "images" / name
    images.mkdir(parents=True)
    if kind == "masks-png":
        write_pngs(images, masks)
    else:
        write_davis(images, {1: masks})
    return Path(shutil.make_archive(str(folder / f"{name}-{kind}"), "zip", images.parent))
