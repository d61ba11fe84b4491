"""Masks of objects in a video or an image, from clicks and boxes on the page, by the models of `tapetum segment --click`.

The masks of a frame are a PNG in the folder of the job, there as soon as they are computed: its pixels have the number of their
object (of two objects the higher), and its palette is transparent where there is none, so that a browser draws it as it is.
"""

import io
import os
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from tapetum.app.see.segment_clicks import SEGMENTER, read_prompts
from tapetum.app.verb import Listener, count_frames
from tapetum.bench.word_models import is_here
from tapetum.core.devices import choose_device
from tapetum.core.files import plain_name, whole_file
from tapetum.core.reading import read_bytes
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.hidden import HIDDEN, make_folder, read_plain
from tapetum.desk.web.items import Items, MediaItem
from tapetum.hub.loading import load
from tapetum.hub.registry import find, known
from tapetum.video import open_video
from tapetum.video.draw import APART

_PLACE = "masks"
_MOST_PROMPTS = 1000
_ALPHA = 140


def segmenters() -> list[str]:
    """List the models on this machine that outline what is clicked, the default of `tapetum segment --click` first."""
    loader = find(SEGMENTER).loader
    return [name for name, weights in known().items() if weights.loader == loader and is_here(name)]


def read_masks(content: dict[str, Any]) -> dict[str, Any]:
    """Validate a received request: clicks and boxes as `read_prompts` takes them, one frame or None for all, and a model.

    Raises Refused with 400 for an invalid one, with 409 if no model is on this machine; BadInput as `read_prompts`.
    """
    clicks, boxes, frame = content.get("clicks") or [], content.get("boxes") or [], content.get("frame")
    lists = isinstance(clicks, list) and isinstance(boxes, list) and all(isinstance(each, list) for each in [*clicks, *boxes])
    if not lists or not 0 < len(clicks) + len(boxes) <= _MOST_PROMPTS:
        raise Refused(400, f"clicks and boxes are no lists of at most {_MOST_PROMPTS} in all; give at least one")
    prompts = read_prompts(tuple(clicks), tuple(boxes))
    if frame is not None and (type(frame) is not int or all(each.frame != frame for each in prompts)):
        raise Refused(400, f"no click and no box is in frame {str(frame)[:40]}; give one")
    if not (names := segmenters()):
        raise Refused(409, f"no model of this machine outlines what is clicked; run: {find(SEGMENTER).fetch_text}")
    model = content.get("model") or names[0]
    if model not in names:
        raise Refused(400, f"there is no model {str(model)[:40]!r} on this machine; choose one of {', '.join(names)}")
    return {"clicks": clicks, "boxes": boxes, "frame": frame, "model": model}


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Compute the masks of a job in its one frame, or in all. Raises BadInput for places outside, or as the model does."""
    settings, place = job["settings"], make_folder(folder / HIDDEN, "jobs", job["id"], _PLACE)
    database = Database(folder / HIDDEN / FILE)
    try:
        item = Items(database, folder).get(job["item"])
    finally:
        database.close()
    one = settings["frame"]
    prompts = read_prompts(tuple(settings["clicks"]), tuple(settings["boxes"]))
    prompts = [each for each in prompts if one is None or each.frame == one]
    objects = sorted({each.object for each in prompts})
    with open_video(item.path) as video:
        if one is None:
            count_frames(video, item.name, listener)
        listener.status("loading the model")
        segmenter = load(settings["model"], choose_device(settings["device"]))
        total = len(objects) * (len(video) if one is None else 1)  # the frame of the prompts comes first
        for done, (frame, name, mask) in enumerate(islice(segmenter.segment(video, prompts), total), 1):
            _add(place / f"{frame:05d}.png", name, mask)
            listener.progress("outlining", done, total)
    return {"result": {"objects": objects, "frames": total // len(objects)}, "model": f"model: {settings['model']}"}


def _add(path: Path, name: int, mask: np.ndarray) -> None:
    """Add the mask of an object to the image of a frame."""
    from PIL import Image

    numbers = np.asarray(Image.open(io.BytesIO(read_bytes(path)))) if path.exists() else np.zeros(mask.shape, np.uint8)
    image = Image.fromarray(np.where(mask & (numbers < name), np.uint8(name), numbers), "P")
    image.putpalette([0, 0, 0, *np.resize(APART, (255, 3)).ravel().tolist()])
    with whole_file(path, own=True) as temporary:
        image.save(temporary, "PNG", transparency=bytes([0] + [_ALPHA] * 255))


def read_image(jobs: Path, job: str, frame: str) -> bytes:
    """Read the image of a frame. Raises Refused with 404 if there is none yet."""
    try:
        if not (frame.isascii() and frame.isdecimal() and len(frame) < 12):
            raise OSError(frame)
        return read_plain(jobs, job, _PLACE, f"{int(frame):05d}.png", most=1 << 26)
    except OSError:
        raise Refused(404, f"there are no masks of frame {frame[:40]}") from None


def write_zip(jobs: Path, job: str, item: MediaItem, folder: Path) -> Path:
    """Write the images of a job into a zip, as DAVIS names them. Raises Refused with 404 if there are none."""
    path = folder / f"{plain_name(item.path)}-masks.zip"
    try:
        with ZipFile(path, "w") as file:
            for name in sorted(os.listdir(jobs / job / _PLACE)):
                file.writestr(name, read_plain(jobs, job, _PLACE, name, most=1 << 26))
    except OSError:
        raise Refused(404, "the masks of this job are no longer there; compute them again") from None
    return path
