"""Files of TAP-Vid (arXiv 2211.03726) and RoboTAP (arXiv 2308.15975): videos with points annotated in every frame.

A pickle holds, for each video, `video` (uint8 frames, or JPEG bytes per frame), `points` (x, y as fractions of width and
height, so that 0 and 1 are the outer edges of the image) and `occluded`. DAVIS and RoboTAP are dicts by name,
RGB-Stacking is a list, Kinetics consists of several files of either kind.

Unusual: pickles are read without running their code, one video at a time whatever the size of the file, and frames are decoded
on demand.
"""

import glob
import io
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8
from PIL import Image, UnidentifiedImageError

from tapetum.core.errors import BadInput
from tapetum.core.files import named_path, whole_file
from tapetum.hub.unpickle import load_items


@dataclass(frozen=True, eq=False)
class TapVidEntry:
    """One video of a file, whose fields have been checked against each other."""

    name: str
    """Key in the file, or its number where the file is a list; behind the name of the file where there are several."""
    video: Any
    """t frames as they are stored: uint8 (t, h, w, 3), or a sequence of JPEG bytes or of arrays; see `images`."""
    points: Num[np.ndarray, "n t 2"]
    """x, y as shares of width and height; anything where occluded."""
    occluded: Bool[np.ndarray, "n t"]

    def images(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield the frames one by one, decoded. Raises `BadInput` if one is not a complete image."""
        for index, frame in enumerate(self.video):
            image = frame if isinstance(frame, np.ndarray) else _decoded(self.name, index, frame)
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
                given = f"{image.dtype} {image.shape}"
                raise _bad(self.name, "video", f"frame {index} is {given}; it must be uint8 (height, width, 3)")
            yield image


def read_entries(path: str | os.PathLike[str]) -> Iterator[TapVidEntry]:
    """Read the videos of a file, of all files in a folder, or of files that match a pattern such as `kinetics/*.pkl`.

    One file at a time is read into memory, on demand.

    Raises BadInput: no such file, not a TAP-Vid pickle, or a damaged video; the message names the video and the field.
    """
    files = _files(os.fspath(path))
    for file in files:
        for name, item in _named(load_items(file), file).items():
            yield _entry(f"{Path(file).stem}/{name}" if len(files) > 1 else name, item.read())


def list_entries(file: str | os.PathLike[str]) -> list[str]:
    """List the names of the videos in a file. Raises BadInput if it is not a TAP-Vid pickle."""
    return list(_named(load_items(file), os.fspath(file)))


def _named(content: Any, file: str) -> dict[str, Any]:
    if not isinstance(content, (dict, list, tuple)) or not content:
        given = f"an empty {type(content).__name__}" if isinstance(content, (dict, list, tuple)) else "no dict or list"
        raise BadInput(f"{file} holds {given}; a TAP-Vid pickle is a dict or list of videos")
    if isinstance(content, dict):
        return {str(name): item for name, item in content.items()}
    return {f"{index:05d}": item for index, item in enumerate(content)}


def write_entries(path: str | os.PathLike[str], entries: Mapping[str, TapVidEntry]) -> Path:
    """Write a dict of videos by name, as DAVIS is published: uint8 frames, float32 points, bool occluded; whole or not at all.
    Raises `BadInput` if it cannot be written, or could not be read back."""
    content = {
        name: {
            "video": np.ascontiguousarray(entry.video, np.uint8),
            "points": np.ascontiguousarray(entry.points, np.float32),
            "occluded": np.ascontiguousarray(entry.occluded, np.bool_),
        }
        for name, entry in entries.items()
    }
    for name, entry in content.items():
        _entry(name, entry)
    path = named_path(path)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        pickle.dump(content, file, protocol=4)
    return path


def _files(path: str) -> list[str]:
    if Path(path).is_dir():
        path = os.path.join(glob.escape(path), "*.pkl")
    files = sorted(glob.glob(path)) if glob.has_magic(path) else [path]
    if not files:
        raise BadInput(f"there is no file {path}; give a TAP-Vid pickle, a folder of them or a pattern")
    return files


def _bad(name: str, field: str, problem: str) -> BadInput:
    return BadInput(f"video {name!r}, field {field!r}: {problem}")


def _entry(name: str, entry: Any) -> TapVidEntry:
    if not isinstance(entry, dict):
        raise BadInput(f"video {name!r} is a {type(entry).__name__}; it must be a dict of video, points and occluded")
    for field in ("video", "points", "occluded"):
        if field not in entry:
            raise _bad(name, field, "missing; a video has the fields video, points and occluded")
    occluded, points, video = np.asarray(entry["occluded"]), np.asarray(entry["points"]), entry["video"]
    if occluded.ndim != 2 or occluded.dtype.kind not in "biuf" or not np.isin(occluded, (0, 1)).all():
        raise _bad(name, "occluded", f"{occluded.dtype} {occluded.shape}; it must be bool (tracks, frames)")
    occluded = occluded.astype(bool)
    if points.dtype.kind not in "fiu" or points.shape != (*occluded.shape, 2):
        given = f"{points.dtype} {points.shape}"
        raise _bad(name, "points", f"{given}; with occluded {occluded.shape} it must be numbers {(*occluded.shape, 2)}")
    visible_points = points[~occluded]
    if not np.isfinite(visible_points).all():
        raise _bad(name, "points", "a visible point is NaN or infinite; mark it as occluded or mend it")
    if visible_points.size and np.abs(visible_points).max() > 2:
        given = f"a visible point reaches {np.abs(visible_points).max():g}"
        raise _bad(name, "points", f"{given}; points are shares of width and height, 0..1")
    encoded = isinstance(video, (list, tuple)) or (isinstance(video, np.ndarray) and video.dtype.kind in "OS")
    if not encoded and not (
        isinstance(video, np.ndarray) and video.dtype == np.uint8 and video.ndim == 4 and video.shape[-1] == 3
    ):
        given = f"{video.dtype} {video.shape}" if isinstance(video, np.ndarray) else type(video).__name__
        raise _bad(name, "video", f"{given}; it must be uint8 (frames, height, width, 3) or a list of JPEG bytes")
    if not len(video) or (isinstance(video, np.ndarray) and not video.size):
        raise _bad(name, "video", "no frames")
    if len(video) != occluded.shape[1]:
        raise _bad(name, "video", f"{len(video)} frames, but points and occluded have {occluded.shape[1]}")
    return TapVidEntry(name=name, video=video, points=points, occluded=occluded)


def _decoded(name: str, index: int, frame: Any) -> UInt8[np.ndarray, "h w 3"]:
    if not isinstance(frame, bytes):
        raise _bad(name, "video", f"frame {index} is a {type(frame).__name__}; it must be an array or JPEG bytes")
    try:
        with Image.open(io.BytesIO(frame)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise _bad(name, "video", f"frame {index} is no whole image ({reason})") from error
