"""Tables of tracks in the layouts of DeepLabCut and napari's Tracks layer; `exchange` defines their meaning."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes
from tapetum.core.tables import CsvRows, guarded, unguarded
from tapetum.tracks.poses import FIRST_PIXEL, frame_numbers, point_names, visible_positions
from tapetum.types import Tracks

_LIKELY = 0.5
"""A position of DeepLabCut counts as visible where its likelihood is above this."""

TRACK_ID = ("id", "track_id", "trackid", "track id")
"""Names, in small letters, under which programs write the ID of a napari track."""

_FARTHEST = 1e9
"""Pixels; a position beyond is taken for damage."""

_MOST_FRAMES, _MOST_CELLS = 10_000_000, 100_000_000
"""A table that claims more frames, or more points times frames, is taken for damaged before memory is asked for it."""

_Row = tuple[str, list[str]]


def columns(path: Path) -> list[str]:
    """Read the first row of a csv file, in lower case and without the # of numpy's headers; raises `BadInput` if there is
    none."""
    for _, cells in _rows(path):
        return [cell.strip().removeprefix("# ").lower() for cell in cells]
    raise BadInput(f"{path} is empty; give a table of tracks")


def _rows(path: Path) -> Iterator[_Row]:
    try:
        reader = CsvRows(read_bytes(path).decode("utf-8-sig"))
        for row in reader:
            if any(cell.strip() for cell in row):
                yield f"line {reader.line_num} of {path}", row
    except OSError as error:
        raise BadInput(f"cannot read tracks from {path}: {error.strerror or error}; give a file of tracks") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not text, as a csv file must be; give a table of tracks") from error
    except csv.Error as error:
        raise BadInput(f"{path} is not a csv file ({error}); give a table of tracks") from error


def from_dlc(path: Path) -> Tracks:
    """Read tracks from a table of DeepLabCut. Raises `BadInput` for any damage."""
    rows = list(_rows(path))
    levels = [cells[0].strip() for _, cells in rows[:4]]
    if levels[:3] != ["scorer", "bodyparts", "coords"] and levels != ["scorer", "individuals", "bodyparts", "coords"]:
        raise BadInput(f"{path} begins with the rows {', '.join(levels)[:80]}; a table of DeepLabCut begins with scorer, "
                       "(individuals,) bodyparts, coords")  # fmt: skip
    depth = levels.index("coords") + 1
    body = _body(path, rows, depth)
    parts = _dlc_parts(path, [cells for _, cells in rows[1:depth]])
    for name, (image, *_) in body:
        if "/" in image or "\\" in image or image == "labeled-data":
            raise BadInput(f"{name} is about the image {image[:80]}; labels of single images are no tracks, "
                           "give what DeepLabCut's analyze_videos wrote")  # fmt: skip
    times = [_whole(row, 0, "frame", _MOST_FRAMES) for row in body]
    _once(body, times, "frame {}")
    shape = _room(path, len(parts), max(times) + 1)
    numbers = _numbers(body, range(1, len(body[0][1])))
    xy, confidence = np.full((*shape, 2), np.nan), np.zeros(shape)
    for point, places in enumerate(parts.values()):
        here = numbers[:, [places["x"], places["y"]]]
        likelihood = numbers[:, places["likelihood"]] if "likelihood" in places else np.full(len(here), np.nan)
        xy[point, times] = here
        confidence[point, times] = np.where(np.isnan(likelihood), np.isfinite(here).all(axis=1), likelihood.clip(0, 1))
    visible = np.isfinite(xy).all(axis=2) & (confidence > _LIKELY)
    tracks = filled(xy + FIRST_PIXEL, visible, confidence)
    named = any(name != f"point{point}" for point, name in enumerate(parts)) and all(map(str.isprintable, parts))
    return replace(tracks, names=tuple(parts)) if named else tracks


def _dlc_parts(path: Path, header: Sequence[Sequence[str]]) -> dict[str, dict[str, int]]:
    """For each body part (of each individual), the columns of its x, y and likelihood."""
    parts: dict[str, dict[str, int]] = {}
    for column, (*part, coordinate) in enumerate(list(zip(*header, strict=True))[1:]):
        places = parts.setdefault("/".join(map(unguarded, part)), {})
        if coordinate in places:
            raise BadInput(f"{path} has {coordinate[:80]} of {'/'.join(part)[:80]} twice; give each body part its own name")
        places[coordinate] = column
    for part, places in parts.items():
        if not {"x", "y"} <= set(places) <= {"x", "y", "likelihood"}:
            raise BadInput(f"{path} has {', '.join(places)[:80]} for {part[:80]}; give x, y and likelihood of each body part")
    if not parts:
        raise BadInput(f"{path} has no body parts; give x, y and likelihood of each")
    return parts


def dlc_rows(tracks: Tracks) -> Iterator[Sequence[object]]:
    """Yield the rows of a table for DeepLabCut."""
    yield ["scorer", *["tapetum"] * (3 * tracks.points)]
    yield ["bodyparts", *(guarded(name) for name in point_names(tracks) for _ in range(3))]
    yield ["coords", *["x", "y", "likelihood"] * tracks.points]
    cells = np.concatenate([visible_positions(tracks), tracks.confidence[..., None]], axis=2).transpose(1, 0, 2)
    for frame, number in enumerate(frame_numbers(tracks).tolist()):
        yield [number, *("" if math.isnan(value) else value for value in cells[frame].reshape(-1).tolist())]


def from_napari(path: Path, frames: int = 0) -> Tracks:
    """Read tracks from a table with the columns ID, T, Y, X, of at least `frames` frames. Raises `BadInput` for any damage."""
    header = columns(path)

    def column(*allowed: str) -> int:
        places = [index for index, name in enumerate(header) if name in allowed]
        if len(places) != 1:
            raise BadInput(f"{path} has {len(places)} columns {allowed[0].upper()}; a table for napari has ID,T,Y,X, each once")
        return places[0]

    identity, time, y, x = column(*TRACK_ID), column("t", "frame"), column("y"), column("x")
    body = _body(path, list(_rows(path)), 1)
    if "z" in header and len(np.unique(_numbers(body, [header.index("z")]))) > 1:
        raise BadInput(f"{path} holds tracks in a volume (its Z changes); only tracks in an image are read")
    places = _numbers(body, [x, y])
    if (lacking := np.isnan(places).any(axis=1)).any():
        raise BadInput(f"{body[int(lacking.argmax())][0]} lacks x or y; leave the row out where the point is hidden")
    keys = [(_whole(row, identity, "track id", 2**53), _whole(row, time, "frame", _MOST_FRAMES)) for row in body]
    _once(body, keys, "track {0[0]} in frame {0[1]}")
    identities, times = np.array(keys, np.int64).T
    points = np.unique(identities, return_inverse=True)[1]
    shape = _room(path, int(points.max()) + 1, max(int(times.max()) + 1, frames))
    xy, visible = np.full((*shape, 2), np.nan), np.zeros(shape, np.bool_)
    xy[points, times] = places + FIRST_PIXEL
    visible[points, times] = True
    return filled(xy, visible, visible.astype(np.float32))


def napari_rows(tracks: Tracks) -> Iterator[Sequence[object]]:
    """Yield the rows of a table for napari."""
    yield ["ID", "T", "Y", "X"]
    point, frame = np.nonzero(tracks.visible)
    x, y = visible_positions(tracks)[point, frame].T
    numbers = frame_numbers(tracks)[frame]
    yield from zip(point.tolist(), numbers.tolist(), y.tolist(), x.tolist(), strict=True)


def filled(xy: Float[np.ndarray, "n t 2"], visible: Bool[np.ndarray, "n t"], confidence: Float[np.ndarray, "n t"]) -> Tracks:
    """Make tracks from positions that are NaN where unknown; these are filled in, and queries created, see
    `exchange`."""
    time = np.arange(xy.shape[1])
    for places in xy:
        known = np.isfinite(places).all(axis=1)
        if not known.all():
            for axis in range(2):
                places[:, axis] = np.interp(time, time[known], places[known, axis]) if known.any() else 0
    first = visible.argmax(axis=1)
    start = xy[np.arange(len(xy)), first]
    return Tracks(xy=xy, visible=visible, confidence=confidence, queries=np.column_stack([first, start]))


def _numbers(rows: Sequence[_Row], places: Sequence[int]) -> Float[np.ndarray, "r c"]:

    def number(name: str, text: str) -> float:
        try:
            value = float(text or "nan")
        except ValueError:
            value = math.inf
        if abs(value) > _FARTHEST:
            raise BadInput(f"{name} holds {text[:40]!r}; give a number of pixels, or nothing where the point is hidden")
        return value

    return np.array([[number(name, cells[place].strip()) for place in places] for name, cells in rows], np.float64)


def _whole(row: _Row, column: int, what: str, most: int) -> int:
    """A cell as a whole number from 0 to below `most`."""
    text = row[1][column].strip()
    try:
        value = float(text)
        if value == int(value) and 0 <= value < most:
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise BadInput(f"{row[0]} holds {text[:40]!r} for the {what}; give a whole number from 0 to {most - 1}")


def _once(rows: Sequence[_Row], keys: Sequence[object], what: str) -> None:
    met = set()
    for (name, _), key in zip(rows, keys, strict=True):
        if key in met:
            raise BadInput(f"{name} is another row for {what.format(key)}; give one")
        met.add(key)


def _room(path: Path, points: int, frames: int) -> tuple[int, int]:
    if points * frames > _MOST_CELLS:
        raise BadInput(f"{path} claims {points} points in {frames} frames, more than {_MOST_CELLS} positions; is it damaged?")
    return points, frames


def _body(path: Path, rows: Sequence[_Row], header: int) -> Sequence[_Row]:
    """The rows below the header: at least one, all of the same width."""
    body, width = rows[header:], len(rows[0][1])
    for name, cells in rows:
        if len(cells) != width:
            raise BadInput(f"{name} has {len(cells)} columns, but the first has {width}; the table is cut off or damaged")
    if not body:
        raise BadInput(f"{path} holds a header and no rows; give a table with a row for each frame")
    return body
