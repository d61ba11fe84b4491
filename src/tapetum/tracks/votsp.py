"""Files of VOTSp, VOT's point tracking challenge: sequences with ground truth, and the folder protocol of its toolkit.

    protocol, a folder        frames_color.txt       path of each frame, one per line; relative paths start at the folder
                              query_ID.txt           frame of the query (the first is 0); its x,y; more lines are ignored
                              output_ID.txt          our result: a line per frame, x,y, or 0 before the query
    sequence, a folder        sequence               key=value lines: channels.color is the pattern of the frames
                              color/00000001.jpg ... numbered from 1
                              groundtruth_ID.txt     a line per frame: x,y, or a single number if the point has no position

Source: github.com/votchallenge/toolkit, `vot/tracker/folder.py`, `vot/dataset/common.py` and `vot/region/io.py` (0.9). VOT's
points count from the centre of the first pixel, half a pixel less than ours. Every frame from the query on gets a position,
visible or not: a frame without one is not scored.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tapetum.core.errors import BadInput
from tapetum.core.files import write_text
from tapetum.core.reading import read_text
from tapetum.video.images import ImageVideo

Query = tuple[int, float, float]
"""Frame, x, y in raster pixels."""

_HALF = 0.5
"""Pixels between the centre of the first pixel, where VOT's origin lies, and its corner, where ours does."""


@dataclass(frozen=True)
class VotspTask:
    """What the toolkit asks a tracker for: a video, and points in it by their identifiers."""

    video: ImageVideo
    queries: dict[str, Query]


@dataclass(frozen=True)
class VotspSequence:
    """One annotated video, and the places of its points by their identifiers: float32 (t, 2) raster pixels, NaN for none."""

    name: str
    video: ImageVideo
    truth: dict[str, Float[np.ndarray, "t 2"]]


def read_task(folder: str | os.PathLike[str]) -> VotspTask:
    """Read the frames and queries of a folder of the protocol. Raises BadInput for a missing or damaged file, and a query that
    is not a point in the video."""
    folder = Path(folder)
    video = _video([folder / line for line in _lines(folder / "frames_color.txt") if line], folder)
    files = sorted(folder.glob("query_*.txt"))
    if not files:
        raise BadInput(f"{folder} has no query_ID.txt; give a folder that the VOT toolkit made for a tracker")
    return VotspTask(video, {file.stem.removeprefix("query_"): _query(file, video) for file in files})


def write_outputs(folder: str | os.PathLike[str], task: VotspTask, xy: Float[np.ndarray, "n t 2"]) -> list[Path]:
    """Write the tracks in the order of their queries, as output_ID.txt beside these; each file appears whole or not at all."""
    paths = []
    for (name, (first, _, _)), track in zip(task.queries.items(), xy, strict=True):
        path = Path(folder) / f"output_{name}.txt"
        before = np.arange(len(track))[:, None] < first
        write_trajectory(path, np.where(before, np.nan, track))
        paths.append(path)
    return paths


def read_sequences(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Find the sequences of a data set or a workspace: the folders that list.txt names, or else all with a `sequence` file.
    Raises BadInput if there are none."""
    folder = Path(folder) / "sequences" if (Path(folder) / "sequences").is_dir() else Path(folder)
    if (folder / "list.txt").is_file():
        names = [line for line in _lines(folder / "list.txt") if line]
    elif folder.is_dir():
        names = sorted(file.parent.name for file in folder.glob("*/sequence"))
    else:
        names = []
    if not names:
        raise BadInput(f"{folder} has no sequences of VOT; give the workspace, or the folder with list.txt")
    return {name: folder / name for name in names}


def read_sequence(folder: str | os.PathLike[str]) -> VotspSequence:
    """Read one sequence. Raises BadInput if a file is missing or damaged, or its ground truth has boxes or masks."""
    folder = Path(folder)
    settings = dict(line.split("=", 1) for line in _lines(folder / "sequence") if "=" in line)
    pattern = settings.get("channels.color", "color/%08d.jpg").replace("\\", "/").rstrip("/")
    video = _video(_numbered(folder, pattern if Path(pattern).suffix else f"{pattern}/%08d.jpg"), folder)
    files = sorted(folder.glob("groundtruth_*.txt")) or [folder / "groundtruth.txt"]
    truth = {}
    for file in files:
        places = read_trajectory(file)
        if len(places) > len(video):
            raise BadInput(f"{file} has {len(places)} lines for {len(video)} frames")
        missing = np.full((len(video) - len(places), 2), np.nan, np.float32)
        truth[file.stem.removeprefix("groundtruth").removeprefix("_") or "object"] = np.concatenate([places, missing])
    return VotspSequence(folder.name, video, truth)


def read_trajectory(path: str | os.PathLike[str]) -> Float[np.ndarray, "t 2"]:
    """Read a file of regions, one per frame: positions in raster pixels, NaN if there is none. Raises BadInput for boxes,
    polygons, masks."""
    places = [_place(line, Path(path), number) for number, line in enumerate(_lines(Path(path)), 1)]
    return np.array(places, np.float32).reshape(-1, 2)


def write_trajectory(path: str | os.PathLike[str], xy: Float[np.ndarray, "t 2"]) -> None:
    """Write positions (raster pixels) as a file of regions, one per frame; 0 for NaN. Whole or not at all."""
    lines = ("0" if np.isnan(place).any() else ",".join(f"{value - _HALF:.4f}" for value in place.tolist()) for place in xy)
    write_text(path, "".join(f"{line}\n" for line in lines))


def _place(line: str, path: Path, number: int) -> tuple[float, float]:
    """The position of a region, if it is a point; NaN for a special region."""
    try:
        values = [float(value) for value in line.split(",")]
    except ValueError:
        values = []
    if len(values) == 1 or (len(values) == 2 and any(map(math.isnan, values))):
        return math.nan, math.nan
    if len(values) != 2 or not all(map(math.isfinite, values)):
        raise BadInput(f"{path}, line {number}: {line[:60]!r} is no point; VOTSp has x,y or a number alone on each line")
    return values[0] + _HALF, values[1] + _HALF


def _query(file: Path, video: ImageVideo) -> Query:
    lines = _lines(file)
    if len(lines) < 2 or not re.fullmatch(r"\d{1,9}", lines[0]):
        raise BadInput(f"{file} is no query; it needs a line with the number of a frame and one with x,y")
    frame, (x, y) = int(lines[0]), _place(lines[1], file, 2)
    if math.isnan(x):
        raise BadInput(f"{file}, line 2: {lines[1]!r} is no point; VOTSp asks for x,y")
    width, height = video.width, video.height
    if frame >= len(video) or not (-width <= x <= 2 * width and -height <= y <= 2 * height):  # some lie a little outside
        where = f"{len(video)} frames of {video.width}x{video.height}"
        raise BadInput(f"{file} asks for frame {frame} at {x - _HALF:g},{y - _HALF:g}, far outside of {where}")
    return frame, x, y


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """The frames that match a pattern such as color/%08d.jpg, from number 1 on."""
    match = re.fullmatch(r"([^%]*)%0?(\d*)d([^%]*)", pattern)
    if match is None or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise BadInput(f"{folder / 'sequence'} has channels.color={pattern}; it must be a pattern such as color/%08d.jpg")
    before, width, after = match[1], int(match[2] or 1), match[3]
    frames: list[Path] = []
    while (path := folder / f"{before}{len(frames) + 1:0{min(width, 20)}d}{after}").is_file():
        frames.append(path)
    return frames


def _video(frames: list[Path], folder: Path) -> ImageVideo:
    if not frames:
        raise BadInput(f"{folder} names no frames; give a folder of the VOT toolkit")
    return ImageVideo(frames, name=folder.name, frame_rate=30)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_text(path).splitlines()]
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give a folder of the VOT toolkit") from error
    except ValueError as error:
        raise BadInput(f"{path} is not text; give a folder of the VOT toolkit") from error
