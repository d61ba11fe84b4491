"""Tracks: where each queried point is in each frame, and how sure the tracker is.

Plain numpy, no torch: tables of tracks can be read and written by code that never loads a model.
Coordinates are raster pixels of the video: (x, y) with the origin at the outer corner of the top-left pixel, so that
its centre is (0.5, 0.5). Time is a frame number; a fraction lies between two frames.

Four formats by file extension: `npz` (arrays by field name), `csv` (a row for each point and frame), `json` and
`parquet` (like csv, needs the extra `tables`). Every one gives back exactly what was saved.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.errors import BadInput
from tapetum.tables import Formats, from_csv, from_npz, from_parquet, load, save, to_csv, to_npz, to_parquet
from tapetum.types.checks import finite, truths

COLUMNS = ("point", "frame", "x", "y", "visible", "confidence")
"""Columns of the csv and parquet tables, which go on with QUERY_COLUMNS."""
QUERY_COLUMNS = ("query_t", "query_x", "query_y")
"""The query of the row's point; repeated in each of its rows so that the table needs no second file."""
WHOLE: Mapping[str, type] = {"point": np.int64, "frame": np.int64, "visible": np.int64, "clicked": np.int64, "name": np.str_}
"""Columns of a csv table that hold whole numbers, or text."""


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
    """float32 (n, t): 0..1, the chance that the point is visible and its position right."""
    queries: np.ndarray
    """float32 (n, 3): frame, x, y of the point that was asked for."""
    names: tuple[str, ...] | None = None
    """What each point is called, if they have names; an empty name is none."""
    clicked: np.ndarray | None = None
    """bool (n, t): somebody said that the point is here; None where nobody says more than the queries."""

    def __post_init__(self) -> None:
        xy = finite("Tracks", "xy", self.xy, (None, None, 2), axes="(n, t, 2)")
        n, t = xy.shape[:2]
        confidence = finite("Tracks", "confidence", self.confidence, (None, None), axes="(n, t)")
        queries = finite("Tracks", "queries", self.queries, (None, 3), axes="(n, 3)")
        visible = truths("Tracks", "visible", self.visible)
        for name, array, wanted in (
            ("visible", visible, (n, t)),
            ("confidence", confidence, (n, t)),
            ("queries", queries, (n, 3)),
        ):
            if array.shape != wanted:
                raise BadInput(f"{name} of Tracks has shape {array.shape}; with xy of shape {xy.shape} give {wanted}")
        if self.clicked is not None:
            clicked = truths("Tracks", "clicked", self.clicked)
            if clicked.shape != (n, t):
                raise BadInput(f"clicked of Tracks has shape {clicked.shape}; with xy of shape {xy.shape} give {(n, t)}")
            object.__setattr__(self, "clicked", clicked)
        if self.names is not None:
            object.__setattr__(self, "names", _checked_names(self.names, n))
        if confidence.size and (confidence.min() < 0 or confidence.max() > 1):
            raise BadInput("confidence of Tracks leaves 0..1; give a probability, not a logit")
        for name, array in (("xy", xy), ("visible", visible), ("confidence", confidence), ("queries", queries)):
            object.__setattr__(self, name, array)

    @property
    def points(self) -> int:
        """Number of points n."""
        return self.xy.shape[0]

    @property
    def frames(self) -> int:
        """Number of frames t."""
        return self.xy.shape[1]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to `path`, in the format of its extension: npz, csv, json or parquet.

        The file appears whole or not at all: it is written beside its place, flushed to the disk and then renamed.
        Raises `BadInput` for another extension or where the place cannot be written, and `MissingExtra` for parquet
        without pyarrow.
        """
        return save(self, path, _FORMATS, "tracks")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tracks":
        """Read what `save` wrote; never runs code from the file.

        Raises `BadInput` where the file is missing, damaged or of another layout.
        """
        return cls(**load(path, _FORMATS, "tracks", "Tracks.save"))


def _checked_names(names: Any, n: int) -> tuple[str, ...]:
    if isinstance(names, str):
        raise BadInput(f"names of Tracks are one text, {names[:40]!r}; give one for each point")
    found = tuple(str(name) for name in names)
    if len(found) != n:
        raise BadInput(f"there are {len(found)} names for {n} points of Tracks; give one for each")
    for name in found:
        if not name.isprintable():
            raise BadInput(f"the name {name[:40]!r} of a point cannot be printed; give names without line breaks and the like")
    return found


_ARRAYS = ("xy", "visible", "confidence", "queries")
_OPTIONAL = ("names", "clicked")
"""In a file only where there are some."""


def _given(tracks: Tracks) -> dict[str, Any]:
    """The optional fields that there are."""
    return {name: value for name in _OPTIONAL if (value := getattr(tracks, name)) is not None}


def _to_json(tracks: Tracks) -> bytes:
    fields = {
        "convention": "raster pixels, x right, y down, centre of the top-left pixel at (0.5, 0.5); queries are t, x, y",
        "shape": [tracks.points, tracks.frames],
        "queries": tracks.queries.tolist(),
        "xy": tracks.xy.tolist(),
        "visible": tracks.visible.tolist(),
        "confidence": tracks.confidence.tolist(),
        **{name: np.asarray(value).tolist() for name, value in _given(tracks).items()},
    }
    return json.dumps(fields).encode()


def _from_json(data: bytes) -> dict[str, Any]:
    fields = json.loads(data)
    n, t = fields["shape"]
    return {
        "xy": np.array(fields["xy"], np.float32).reshape(n, t, 2),
        "visible": np.array(fields["visible"], np.bool_).reshape(n, t),
        "confidence": np.array(fields["confidence"], np.float32).reshape(n, t),
        "queries": np.array(fields["queries"], np.float32).reshape(n, 3),
        **({"names": tuple(fields["names"])} if "names" in fields else {}),
        **({"clicked": np.array(fields["clicked"], np.bool_).reshape(n, t)} if "clicked" in fields else {}),
    }


def columns_of(tracks: Tracks) -> dict[str, np.ndarray]:
    """Return the table: one row for each point and frame, points first."""
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
    if tracks.names is not None:
        columns["name"] = np.repeat(np.array(tracks.names, np.str_), t)
    if tracks.clicked is not None:
        columns["clicked"] = tracks.clicked.reshape(-1)
    return columns


def tabulated(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return columns, whose rows may come in any order but must be complete, as arrays (n, t); raises ValueError."""
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
    """Return the fields of Tracks from arrays (n, t) by the name of their column; raises ValueError."""
    n, t = table["x"].shape
    queries = np.stack([table[name] for name in QUERY_COLUMNS], axis=-1)
    if (queries != queries[:, :1]).any():
        raise ValueError("the query of a point changes between its rows")
    found = {
        "xy": np.stack([table["x"], table["y"]], axis=-1),
        "visible": table["visible"].astype(np.bool_),
        "confidence": table["confidence"],
        "queries": queries[:, 0] if t else np.zeros((n, 3), np.float32),
    }
    if "name" in table:
        found["names"] = _names_of(table["name"])
    if "clicked" in table:
        found["clicked"] = table["clicked"].astype(np.bool_)
    return found


def _names_of(column: np.ndarray) -> tuple[str, ...]:
    if (column != column[:, :1]).any():
        raise ValueError("the name of a point changes between its rows")
    return tuple(str(name) for name in column[:, 0])


_FORMATS: Formats[Tracks] = {
    ".npz": (
        lambda tracks: to_npz({**{name: getattr(tracks, name) for name in _ARRAYS}, **_given(tracks)}),
        lambda data: from_npz(data, _ARRAYS, _OPTIONAL),
    ),
    ".csv": (lambda tracks: to_csv(columns_of(tracks)), lambda data: fields_of(tabulated(from_csv(data, WHOLE)))),
    ".json": (_to_json, _from_json),
    ".parquet": (lambda tracks: to_parquet(columns_of(tracks)), lambda data: fields_of(tabulated(from_parquet(data)))),
}
