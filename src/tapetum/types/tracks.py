"""Tracks: where each queried point is in each frame, and how sure the tracker is.

Plain numpy, no torch: code that never loads a model can read and write tables of tracks.
Coordinates are raster pixels of the video: (x, y) with the origin at the outer corner of the top-left pixel, so that
its centre is (0.5, 0.5). Time is a frame number; a fraction lies between two frames.

Four formats by file extension: `npz` (arrays by field name), `csv` (a row per point and frame), `json` and
`parquet` (like csv, needs the extra `tables`). If the frame times are known the tables have a column `time_s`, and if
some frames of the video were skipped a column `video_frame`. Every format restores exactly what was saved.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.reading import parse_json
from tapetum.core.tables import Formats, csv_rows, from_csv, from_npz, from_parquet, load, save, to_npz, to_parquet
from tapetum.types.checks import finite, truths


def view_of(value: Any, *beside: Any) -> Any:
    """Draw a value, such as tracks beside their video; None if no entry point has the name of its class."""
    for kind in type(value).__mro__:
        for entry in entry_points(group="tapetum.views", name=kind.__name__):
            return entry.load()(value, *beside)
    return None


COLUMNS = ("point", "frame", "x", "y", "visible", "confidence")
"""Columns of the csv and parquet tables, which go on with QUERY_COLUMNS."""
QUERY_COLUMNS = ("query_t", "query_x", "query_y")
"""The query of the row's point; repeated in each of its rows so that the table needs no second file."""
FRAME_COLUMNS = {"time_s": "times", "video_frame": "numbers"}
"""What a table says of frames besides, where the tracks know it, and the field of `Tracks` for it; repeated for each point."""
EXACT: Mapping[str, type] = {
    "point": np.int64,
    "frame": np.int64,
    "visible": np.int64,
    "time_s": np.float64,
    "video_frame": np.int64,
    "clicked": np.int64,
    "name": np.str_,
}
"""Columns of a csv table that are not float32."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of n points through t frames.

    Lists and other number types are converted; a wrong shape or a number that is not finite raises `BadInput`.

    >>> tracks = Tracks(xy=[[[1.5, 2.5], [2.5, 2.5]]], visible=[[True, False]], confidence=[[0.9, 0.2]],
    ...                 queries=[[0, 1.5, 2.5]])
    >>> tracks.points, tracks.frames, tracks.xy.dtype.name
    (1, 2, 'float32')
    """

    xy: np.ndarray
    """float32 (n, t, 2): x, y in raster pixels; a guess where the point is not visible."""
    visible: np.ndarray
    """bool (n, t): the point can be seen and its position is trusted."""
    confidence: np.ndarray
    """float32 (n, t): 0..1, the tracker's own chance that the point is visible and its position right; visible above 0.5."""
    queries: np.ndarray
    """float32 (n, 3): frame, x, y of the point that was asked for."""
    names: tuple[str, ...] | None = None
    """What each point is called, if they have names; an empty name is none."""
    clicked: np.ndarray | None = None
    """bool (n, t): somebody said that the point is here; None where nobody says more than the queries."""
    times: np.ndarray | None = None
    """float64 (t,): seconds of each frame, as its video states them; None where nobody said."""
    numbers: np.ndarray | None = None
    """int64 (t,): number of each frame in its video, rising; None where the tracks are about all frames of it."""
    error_px: np.ndarray | None = None
    """float32 (n, t): predicted error of `xy` in pixels, which the true one exceeds as often as not; None where the tracker
    predicts none."""
    chance_wrong: np.ndarray | None = None
    """float32 (n, t): 0..1, the chance that the error exceeds 8 pixels of an image whose shorter side has 256."""

    def __post_init__(self) -> None:
        xy = finite("Tracks", "xy", self.xy, (None, None, 2), axes="(n, t, 2)")
        n, t = xy.shape[:2]
        fields: dict[str, Any] = {
            "confidence": finite("Tracks", "confidence", self.confidence, (None, None), axes="(n, t)"),
            "queries": finite("Tracks", "queries", self.queries, (None, 3), axes="(n, 3)"),
            "visible": truths("Tracks", "visible", self.visible),
        }
        if self.clicked is not None:
            fields["clicked"] = truths("Tracks", "clicked", self.clicked)
        for name in _PREDICTED:
            if (value := getattr(self, name)) is not None:
                fields[name] = finite("Tracks", name, value, (None, None), axes="(n, t)")
        for name, array in fields.items():
            expected = (n, 3) if name == "queries" else (n, t)
            if array.shape != expected:
                raise BadInput(f"{name} of Tracks has shape {array.shape}; with xy of shape {xy.shape} give {expected}")
        for name in ("confidence", "chance_wrong"):
            if n * t and name in fields and not 0 <= fields[name].min() <= fields[name].max() <= 1:
                raise BadInput(f"{name} of Tracks leaves 0..1; give a probability, not a logit")
        if n * t and "error_px" in fields and fields["error_px"].min() < 0:
            raise BadInput("error_px of Tracks falls below 0; give a distance in pixels")
        if self.names is not None:
            fields["names"] = _checked_names(self.names, n)
        if self.times is not None:
            fields["times"] = _of_frames("times", self.times, t, np.float64)
        if self.numbers is not None:
            fields["numbers"] = numbers = _of_frames("numbers", self.numbers, t, np.int64)
            if t and (numbers[0] < 0 or (np.diff(numbers) <= 0).any()):
                raise BadInput("numbers of Tracks are not rising from 0 or later; give the number of each frame in its video")
        for name, value in {"xy": xy, **fields}.items():
            object.__setattr__(self, name, value)

    @property
    def points(self) -> int:
        return self.xy.shape[0]

    @property
    def frames(self) -> int:
        return self.xy.shape[1]

    def select(self, points: slice | Sequence[int] | np.ndarray) -> "Tracks":
        """Select the tracks of some points, by number, in that order."""
        chosen = np.arange(self.points)[points]
        known = {name: value[chosen] for name in (*_ARRAYS, *_OF_POINTS) if (value := getattr(self, name)) is not None}
        names = None if self.names is None else tuple(self.names[number] for number in chosen)
        return replace(self, **known, names=names)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to `path`, in the format of its extension: npz, csv, json or parquet.

        The file appears whole or not at all: it is written under a temporary name, flushed to disk and then renamed.
        Raises `BadInput` for another extension or a path that cannot be written, and `MissingExtra` for parquet
        without pyarrow.
        """
        return save(self, path, _FORMATS, "tracks")

    def to_dataframe(self) -> Any:
        """Make a `pandas.DataFrame` with a row per point and frame and the columns of the csv table, plain numbers.

        `visible` is bool. Raises `MissingExtra` without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("pandas", "tables", "a data frame of tracks") from error
        return pandas.DataFrame(columns_of(self))

    def show(self, video: Any) -> Any:
        """Build a playable view of the tracks over their video, of at most 2 MB, which a notebook shows inline.

        Args:
            video: path, array (t, h, w, 3) or open `tapetum.video.Video` that they come from.

        The result has `_repr_html_` and `save(path)`; it is made by the view that `view_of` finds for tracks. Raises `BadInput`
        if the video cannot be opened or is another one.
        """
        return view_of(self, video)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tracks":
        """Read a file that `save` wrote; never runs code from it."""
        return cls(**load(path, _FORMATS, "tracks", "Tracks.save"))


def _checked_names(names: Any, n: int) -> tuple[str, ...]:
    if isinstance(names, str):
        raise BadInput(f"names of Tracks are one text, {names[:40]!r}; give one for each point")
    checked = tuple(str(name) for name in names)
    if len(checked) != n:
        raise BadInput(f"there are {len(checked)} names for {n} points of Tracks; give one for each")
    for name in checked:
        if not name.isprintable():
            raise BadInput(f"the name {name[:40]!r} of a point cannot be printed; give names without line breaks and the like")
    return checked


_ROWS = 100_000
"""Of a table, made at a time."""
_ARRAYS = ("xy", "visible", "confidence", "queries")
_PREDICTED = "error_px", "chance_wrong"
_OF_POINTS = "clicked", *_PREDICTED
_MAYBE = (*FRAME_COLUMNS.values(), "names", *_OF_POINTS)


def _of_frames(name: str, value: Any, t: int, dtype: type) -> np.ndarray:
    array = finite("Tracks", name, value, (None,), dtype=dtype, axes="(t,)")
    if array.shape != (t,):
        raise BadInput(f"{name} of Tracks has shape {array.shape}; with {t} frames give ({t},)")
    return array


def _known(tracks: Tracks) -> dict[str, np.ndarray]:
    """The optional fields that are set."""
    return {name: np.asarray(value) for name in _MAYBE if (value := getattr(tracks, name)) is not None}


def _to_npz(tracks: Tracks) -> bytes:
    return to_npz({name: getattr(tracks, name) for name in _ARRAYS} | _known(tracks))


def _to_json(tracks: Tracks) -> bytes:
    fields = {
        "convention": "raster pixels, x right, y down, centre of the top-left pixel at (0.5, 0.5); queries are t, x, y",
        "shape": [tracks.points, tracks.frames],
        "queries": tracks.queries.tolist(),
        "xy": tracks.xy.tolist(),
        "visible": tracks.visible.tolist(),
        "confidence": tracks.confidence.tolist(),
        **{name: array.tolist() for name, array in _known(tracks).items()},
    }
    return json.dumps(fields).encode()


def _from_json(data: bytes) -> dict[str, Any]:
    fields = parse_json(data)
    n, t = fields["shape"]
    return {
        "xy": np.array(fields["xy"], np.float32).reshape(n, t, 2),
        "visible": np.array(fields["visible"], np.bool_).reshape(n, t),
        "confidence": np.array(fields["confidence"], np.float32).reshape(n, t),
        "queries": np.array(fields["queries"], np.float32).reshape(n, 3),
        **{name: np.array(fields[name]).reshape(t) for name in FRAME_COLUMNS.values() if name in fields},
        **({"names": tuple(fields["names"])} if "names" in fields else {}),
        **({"clicked": np.array(fields["clicked"], np.bool_).reshape(n, t)} if "clicked" in fields else {}),
        **{name: np.array(fields[name], np.float32).reshape(n, t) for name in _PREDICTED if name in fields},
    }


def columns_of(tracks: Tracks) -> dict[str, np.ndarray]:
    """Make the table: one row per point and frame, points first."""
    n, t = tracks.points, tracks.frames
    query = np.repeat(tracks.queries, t, axis=0)
    values = (
        np.repeat(np.arange(n), t),
        np.tile(np.arange(t), n),
        tracks.xy[..., 0].reshape(-1),
        tracks.xy[..., 1].reshape(-1),
        tracks.visible.reshape(-1),
        tracks.confidence.reshape(-1),
        query[:, 0],
        query[:, 1],
        query[:, 2],
    )
    columns = dict(zip(COLUMNS + QUERY_COLUMNS, values, strict=True))
    known = _known(tracks)
    columns |= {column: np.tile(known[name], n) for column, name in FRAME_COLUMNS.items() if name in known}
    if tracks.names is not None:
        columns["name"] = np.repeat(np.array(tracks.names, np.str_), t)
    return columns | {name: known[name].reshape(-1) for name in _OF_POINTS if name in known}


def _to_csv(tracks: Tracks) -> Iterator[bytes]:
    """The table as text, some points at a time, so that little of it is in memory."""
    at_a_time = max(1, _ROWS // max(tracks.frames, 1))
    yield (",".join(columns_of(tracks.select(slice(0, 0)))) + "\n").encode()
    for first in range(0, tracks.points, at_a_time):
        columns = columns_of(tracks.select(slice(first, first + at_a_time)))
        yield from csv_rows({**columns, "point": columns["point"] + first})


def tabulated(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrange complete columns, with rows in any order, as arrays (n, t); raises ValueError."""
    for name in COLUMNS + QUERY_COLUMNS:
        if name not in columns:
            raise ValueError(f"no column {name!r}")
    point, frame = columns["point"].astype(np.int64), columns["frame"].astype(np.int64)
    n, t = (int(index.max()) + 1 if index.size else 0 for index in (point, frame))
    order = np.lexsort((frame, point))
    whole = n * t == point.size and np.array_equal(point[order] * t + frame[order], np.arange(n * t))
    if not whole:
        raise ValueError("some point lacks a frame or has one twice")
    return {name: values[order].reshape(n, t) for name, values in columns.items()}


def fields_of(table: dict[str, np.ndarray]) -> dict[str, Any]:
    """Assemble the fields of Tracks from arrays (n, t) by column name; raises ValueError."""
    n, t = table["x"].shape
    queries = np.stack([table[name] for name in QUERY_COLUMNS], axis=-1)
    if (queries != queries[:, :1]).any():
        raise ValueError("the query of a point changes between its rows")
    moments = {name: table[column] for column, name in FRAME_COLUMNS.items() if column in table and n}
    for column, values in moments.items():
        if (values != values[:1]).any():
            raise ValueError(f"{column} of a frame changes between its rows")
    fields = {
        **{name: values[0] for name, values in moments.items()},
        "xy": np.stack([table["x"], table["y"]], axis=-1),
        "visible": table["visible"].astype(np.bool_),
        "confidence": table["confidence"],
        "queries": queries[:, 0] if t else np.zeros((n, 3), np.float32),
    }
    if "name" in table:
        fields["names"] = _names_of(table["name"])
    if "clicked" in table:
        fields["clicked"] = table["clicked"].astype(np.bool_)
    return fields | {name: table[name] for name in _PREDICTED if name in table}


def _names_of(column: np.ndarray) -> tuple[str, ...]:
    if (column != column[:, :1]).any():
        raise ValueError("the name of a point changes between its rows")
    return tuple(str(name) for name in column[:, 0])


_FORMATS: Formats[Tracks] = {
    ".npz": (_to_npz, lambda data: from_npz(data, _ARRAYS, _MAYBE)),
    ".csv": (_to_csv, lambda data: fields_of(tabulated(from_csv(data, EXACT)))),
    ".json": (_to_json, _from_json),
    ".parquet": (lambda tracks: to_parquet(columns_of(tracks)), lambda data: fields_of(tabulated(from_parquet(data)))),
}
